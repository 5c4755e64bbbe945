// Package picker chooses the model server for each request of an
// InferencePool, and measures what came of it.
//
// Start reading at Picker.Pick: filter, score, then the better of two random
// choices, over an immutable Snapshot. Handler puts it behind the ext_proc
// conversation of pkg/extproc and keeps to the endpoint picker protocol
// (https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/docs/proposals/004-endpoint-picker-protocol).
// Package rewrite decides which model serves a
// request and how important it is, package pool makes the snapshots from an
// InferencePool and its Pods and refreshes the loads, package score holds the
// scorers, package prefix remembers prompts, package config reads the reference's
// configuration, package server is the program.
//
// What is decided here:
//
//   - The gateway's hint (metadata, never the client's header) restricts the
//     choice, ports included. A hint that is there but names nobody leaves
//     nobody: 503.
//   - Load is what the model server said last, corrected by the requests this
//     picker has begun and ended since. An answer older than the staleness limit
//     counts for nothing: such an endpoint is worth what the average fresh one
//     is, or less when our own requests on it say so. With no fresh answer at
//     all the own requests decide, and among equals chance. Stale is never idle.
//   - Requests that the model servers have beyond our own are taken for those of
//     pickers like this one, which see the same answers and do the same: what we
//     began since the last answer counts for them too, at most eight times.
//   - Choosing the least loaded of all makes everybody choose the same one
//     between two scrapes (Mitzenmacher, "How useful is old information?",
//     2000). So two are drawn, each with a probability that grows with its
//     score, and the better of the two is taken: a clear winner nearly always
//     wins, equals share.
package picker
