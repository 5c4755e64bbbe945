// Package gateway is the sandbox's Gateway API controller: it makes one Envoy
// do what Gateways, HTTPRoutes and InferencePools in the API server say, and
// writes their statuses.
//
// Start at Gateway.Run: watch objects → translate.Translate (pure) →
// xds.Render (pure) → push to Envoy and wait for its acknowledgement → write
// statuses. So a status never speaks of a generation that Envoy does not serve.
//
// Decisions made here:
//   - Each Gateway gets the first free address of 127.N.1.0/24 and keeps it as
//     long as it exists; its status is where the choice is remembered.
//   - When Envoy refuses a configuration, the last good one keeps serving, every
//     Gateway says Programmed=False with Envoy's words, and the statuses of
//     routes and pools stay at the generation that is really served. It is
//     offered again every two seconds: another program may have held the port.
//   - An Envoy that ends is an error of Run: the supervisor decides what then.
package gateway
