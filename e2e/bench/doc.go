// Command bench measures what a request costs our servers, beside a floor and a
// peer in the same run:
//
//	make build assets peers && go run ./e2e/bench --suite endpoint-picker
//
// The floor is a grpc-go ext_proc server that decides nothing (floor.go); the
// peer is the reference implementation, built by e2e/peers. Each server is a
// process of its own. A driver (envoy.go) speaks to it as Envoy does, and the
// kernel tells how much CPU time the server's process took (process.go): the
// driver's own work does not count, and neither does waiting for a core.
//
// The servers take turns: floor, ours, peer, floor, ours, peer. A machine that
// slows down for a while slows down all of them, so ratios are taken within a
// round and the median over rounds is reported. Between its turns a server is
// stopped: a picker that asks hundreds of Pods for their load is in nobody's way.
//
// Pickers follow a real API server (cluster.go), on which InferencePools have Pods
// that nobody runs; what stands at their addresses are recorded answers of the
// simulated model server (pages.go).
//
// Start reading at suites.go, which lists what is measured, then contest.go.
package main
