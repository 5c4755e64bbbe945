// Package process starts children that cannot outlive this program.
//
// Each child gets a process group of its own, a log file, and the kernel's
// promise (PR_SET_PDEATHSIG) of a SIGKILL when its parent goes, even if the
// parent was itself killed with SIGKILL. The kernel means the parent *thread*,
// which Go ends and reuses as it likes, so a [Starter] owns one locked thread
// and makes every child from it. The promise reaches the child alone: what the
// child starts is killed with its group when the child ends while we live, but
// would have to watch its own parent if we are killed first.
//
// Start reading at [NewStarter]. Linux only; elsewhere [Starter.Start] says so.
package process
