// Package pool tells the endpoint picker what it may choose from: Watcher keeps
// a snapshot in step with one InferencePool and its Pods, Scraper keeps the
// loads of its endpoints fresh. Start reading at Watcher.Run; what a pool and
// its Pods amount to is the pure function assemble.
//
// The rights they need: list and watch on pods of the pool's namespace, and
// on the one InferencePool, by name.
package pool
