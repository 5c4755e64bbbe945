// Package record writes a rollout down so that its decisions can be made again,
// and makes them again.
//
// A record is JSON lines: a Header, then what the engine saw and what it
// decided, in order. One line per scrape window holds, for each arm, integers
// only; docs/record.md is the format's reference, for those who write one
// themselves. Start at Writer for a run and at Replay for a file.
//
// Replaying feeds the lines to rollout.Next, the very function that decided, so
// that nothing is approximated: with the recorded gates every decision comes out
// bit by bit, and with other gates it shows what they would have made of the same
// windows.
package record
