//go:build tools

// Package refbbr pins the reference body router, so that the benchmarks measure one known release of it.
package refbbr

import _ "sigs.k8s.io/gateway-api-inference-extension/cmd/bbr"
