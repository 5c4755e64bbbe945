// Package simulate compares ways to choose a model server on a simulated fleet:
// modelsim's engines, which batch continuously, share their KV cache and hold a few
// LoRA adapters at a time, serve one trace of requests once for each policy. Ours is
// the real picker with the real scorers and the real prefix index; the peers are
// round robin, random, Envoy's least request, and a model of the reference picker's
// default configuration.
//
// Start with Scenarios (what a fleet meets), Trace (the requests of one) and Run.
// Everything is pure: no clock, no global random source; the same seed gives the
// same trace and the same run. The live comparison replays the same traces against
// real processes.
//
// What is decided here:
//
//   - Loads reach the policies as scrapes bring them: each server once in an
//     interval on average, with the jitter of the real scraper. What a gateway
//     itself began and ended it knows at once.
//   - Several gateways are several independent copies of a policy, asked in turn.
//   - Nothing is shed, so that all policies serve the same requests.
//   - The first requests meet empty caches and count as the rest do.
package simulate
