// Package evidence counts what two arms of a rollout did, from the metrics
// pages of their endpoint pickers and the state of their pods. Start at Arms:
// it answers rollout.Evidence.
//
// Counts are integers and sums of per-process increments: a restarted process,
// a replaced pod or a missed scrape changes when something is counted, never
// how much (see scrape.Delta). Pages are parsed by package scrape, which the
// picker uses too.
//
// The only preset so far is our own picker (preset.go): requests and codes per
// pool, TTFT and duration histograms.
package evidence
