// Package config reads the reference picker's configuration file, the
// EndpointPickerConfig, for what this picker has. Start reading at Read, which is
// pure; what it leaves aside it names, once.
//
// The reference adds up weighted scores and takes the best; this picker multiplies
// them and draws. So a file's weight becomes an exponent: relative to the weight
// that the reference gives the scorer by default, and to the average of them, since
// in a sum only their ratios count. The reference's defaults become this picker's,
// which are 1. A scorer of the reference's default set that the
// profile leaves out is off; the others (lora, requests) then keep their weight,
// because no file that charts write names them.
//
// Source: apix/config/v1alpha1 and pkg/epp/config/loader of
// gateway-api-inference-extension v1.5.0; the inline saturationDetector is of v1.0.
package config
