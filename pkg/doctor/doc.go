// Package doctor finds what is wrong with an inference gateway before a rollout
// finds it: Check is a pure function from a Snapshot of a cluster's objects, and
// of what its pods said when asked, to Findings. It reads no cluster; package
// plugin/doctor does.
//
// One cause makes one finding: a check that explains a symptom blames the
// object, and checks of symptoms (a route that is not accepted) leave blamed
// objects alone. What could not be read is never held against an object.
//
// Start at Check. Each file holds the checks of one kind of object; docs/doctor.md
// lists them all.
package doctor
