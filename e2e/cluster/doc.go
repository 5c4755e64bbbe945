// Package cluster tests whole programs against a sandbox: a real API server, a
// real Envoy, live traffic. Start at sandbox_test.go, which brings one sandbox
// up for all tests; every test works on routes of its own. The programs come
// from bin/, which `make build` fills; a missing one fails the tests.
package cluster
