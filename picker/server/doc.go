// Package server is the endpoint picker as a program: flags, clients, wiring.
// Start reading at Main; the decisions are in package picker.
//
// Every flag that the manifests and charts of the reference picker (v1.0 to
// v1.5) set is accepted. Those with nothing to do here are named once in the
// log. With --endpoints it runs without an API server, for tests and set-ups
// without one.
//
// The program is ready, as gRPC health services "readiness",
// "envoy.service.ext_proc.v3.ExternalProcessor" and "inference-extension", once
// the pool and its Pods have been seen, and stays so: a pool that is deleted
// later is answered with 503. On SIGTERM the pool is watched and scraped until
// the drain of pkg/extproc is over.
package server
