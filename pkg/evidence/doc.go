// Package evidence counts what two arms of a rollout did, from the metrics
// pages of their endpoint pickers and the state of their pods. Start at Arms:
// it answers rollout.Evidence.
//
// Counts are integers and sums of per-process increments: a restarted process,
// a replaced pod or a missed scrape changes when something is counted, never
// how much (see scrape.Delta). Pages are parsed by package scrape, which the
// picker uses too.
//
// presets.go knows whose series mean what; ledger.go says what of a page belongs
// to a window; reach.go finds a way to the pages, or takes them from a
// Prometheus. docs/evidence.md is for people.
package evidence
