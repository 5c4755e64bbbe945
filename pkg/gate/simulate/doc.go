// Package simulate proves the gates on traffic that is not made of independent
// draws: a fleet of simulated model servers (modelsim.Engine: continuous
// batching, so that neighbours slow down together) serves two arms, a rollout
// walks its steps, and what a scrape of both arms would show is given to a
// gate.Board as a real run gives it, with φ estimated from stable's own windows.
// The same windows go through thresholds as other tools apply them.
//
// Start with Shape (a kind of traffic), Plan (a rollout) and Case (many seeded
// runs of one shape, added up in a Tally). Everything is pure: no
// clock, no global random source; the same seed gives the same run.
//
// A run begins with a calibration on stable alone. At every step it takes φ and
// stable's quantiles from stable's windows so far, enters the step, and looks
// after every scrape until the bake is over and each gate has its floor of
// requests, or the step's deadline. The trace does not depend on any verdict, so
// that all judges see the same requests.
package simulate
