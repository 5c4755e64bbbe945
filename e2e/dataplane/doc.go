// Package dataplane tests, on a real Envoy, what the sandbox's gateway claims
// about the data plane: each weighted member asks its own endpoint picker, what
// is asked is what serves, bodies arrive whole, streams survive changes, and a
// picker that goes away does what its pool's failure mode says.
//
// The tests render an IR by hand: there is no API server here. Start reading at
// rig_test.go, which starts Envoy, and pick_test.go, the instrumented picker.
// Envoy comes from ENVOY_PATH or the asset cache; without one the tests fail.
package dataplane
