// Package evidence counts what two arms of a rollout did, from the metrics
// pages of their endpoint pickers and the state of their pods. Start at Arms:
// it answers rollout.Evidence.
//
// Counts are integers and sums of per-process increments: a restarted process,
// a replaced pod or a missed scrape changes when something is counted, never
// how much (see scrape.Delta). Pages are parsed by package scrape, which the
// picker uses too.
//
// preset.go knows the series of our own picker, llm-d's and the inference
// extension's; reach.go finds a way to the pages.
package evidence
