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
//   - When Envoy refuses a configuration, the HTTPRoutes and Gateways that have
//     changed are offered by halves until those to blame are known. Each of
//     those stays as it was last served and says Envoy's words in its status
//     (Accepted=False or Programmed=False); everything else goes on. A Gateway is
//     offered again every two seconds: another program may have held the port.
//     When no object is to blame, the last good configuration keeps serving and
//     every Gateway says Programmed=False.
//   - An Envoy that ends is started again with back-off, and gets all it had;
//     meanwhile every Gateway says Programmed=False. One that ends before it ever
//     served is an error of Run.
//   - Policies and pools of v1alpha2 are watched from when their definitions are
//     there, also when those come later.
//   - access.json is read as it grows, for the counters on /metrics of the admin
//     address at port 9902 (asked≠served mismatches among them), and moved aside
//     at 16 MiB.
//   - Pickers are provisioned only where there is a class with ACK's controller
//     name, and then for every pool. What was made is labelled, and is left when its pool goes.
package gateway
