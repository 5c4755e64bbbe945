// Package translate turns Gateway API and InferencePool objects into what the
// sandbox's data plane must do, and into the statuses that say so.
//
// Translate is a pure function: it imports API types but no client, keeps
// nothing between calls and gives the same answer whatever the order of its
// input. Start there; IR is the result that package xds renders for Envoy.
//
// Decisions that the specifications leave open:
//   - Members of pools and Services are Pods found by selector. EndpointSlices
//     refuse loopback addresses, and every sandbox Pod has one.
//   - A listener port below 1024 that may not be bound is served at port + 8000,
//     and its Accepted condition says so.
//   - A Gateway's spec.infrastructure has no effect, and its Accepted condition
//     says so.
//   - A regular-expression path ranks between exact and prefix paths.
//   - A rule that names something unsupported answers 500 while the route's
//     other rules work (PartiallyInvalid); a route of such rules only is not
//     accepted.
//   - A mirror asks no picker, whatever it names; the route's Accepted condition
//     says so. A mirror whose reference is bad is left out.
//   - A redirect that names neither scheme nor port goes to the port that is
//     really served.
//   - Of a ClientTrafficPolicy or BackendTrafficPolicy the known part is in force
//     (Accepted=True) and the rest is named by the condition UnsupportedFields.
//     Where policies meet, the older one wins, and a route's over its Gateway's.
//   - An endpoint picker is dialled with TLS, unverified as every provider
//     does, unless its Service port has appProtocol kubernetes.io/h2c or its
//     Pod was started with --secure-serving=false.
package translate
