// Package envoy runs one Envoy process that takes its whole configuration over
// ADS from a unix socket. Start is all there is; Bootstrap shows what the
// process is told before the first resource arrives.
package envoy
