// Package xds renders the translated data plane as Envoy resources and serves
// them to one Envoy over delta ADS on a unix socket.
//
// Render is pure and decides everything Envoy is told; start there. Its wiring
// is what was proven on Envoy 1.40: one listener that changes only with its
// Gateway, and three filters in it.
//   - body-router buffers the request and sets the model header; the route is
//     matched again after its answer.
//   - endpoint-picker is inert, with an empty cluster, until a weighted member
//     switches it on with the address of the picker of its own pool. So each
//     member asks its own picker, and nothing about pools is in the listener.
//   - router sends the request to the endpoint that the picker named in dynamic
//     metadata, or to another one of the same pool.
//
// Server pushes a Snapshot and tells what Envoy answered: acknowledged, refused
// (in Envoy's words), or nothing yet.
package xds
