// Package gatelive judges live canaries on a sandbox: each scenario breaks
// something in the middle of a step, under traffic, and says how the rollout must
// end. Start with rounds.sh; run.sh puts it into a sandbox of its own.
//
//	e2e/gatelive/run.sh bin ROUNDS FILE
//
// FILE says what is done: the same command goes on where it was stopped, by
// hand or by GATE_LIVE_SECONDS, until every scenario has ROUNDS lines; a round of
// the eight takes about ten minutes. A line for each run is appended: what was
// wanted, what came, and for a rollback the time from the deciding scrape to the
// restored route. docs/gates.md quotes it.
package gatelive
