//go:build tools

// Package refepp pins the reference endpoint picker, so that benchmarks and routing studies measure one known release of it.
package refepp

import _ "sigs.k8s.io/gateway-api-inference-extension/cmd/epp"
