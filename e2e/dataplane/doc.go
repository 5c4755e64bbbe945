// Package dataplane tests, on a real Envoy, what the sandbox's gateway claims
// about the data plane: each weighted member asks its own endpoint picker, what
// is asked is what serves, bodies arrive whole, streams survive changes, and a
// picker that goes away does what its pool's failure mode says.
//
// Most tests render an IR by hand and have the real body router and a picker
// that counts (pick_test.go); real_test.go has the real picker, too, and
// controller_test.go the whole controller on a real API server. Start reading at
// rig_test.go, which starts Envoy. Programs come from package assets; without
// them the tests fail.
package dataplane
