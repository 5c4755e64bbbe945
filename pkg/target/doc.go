// Package target writes weights to the objects that carry them. Start at
// Object, which reads and patches; a layout (kind.go) knows where one kind keeps
// its weights, such as httpRoute: two backendRefs of one rule.
//
// A weight moves by one JSON Patch whose `test` operations name everything the
// decision rested on: our stamp, and the whole rule as it was read (for the way
// back only the stamp and the backends' identities, so that nothing can starve
// a rollback). The server applies a patch atomically, so a failed test moves
// nothing; a 422 is never interpreted, the object is read again instead.
// Nothing but weights and the stamp is ever written, rules and backendRefs
// being atomic lists that another manager may own (Gateway API v1,
// HTTPRouteSpec.rules).
package target

// StampAnnotation is the fence: its value names the run and epoch that may
// write, every patch tests it, and it is removed at the end.
const StampAnnotation = "kubectl-infer.github.io/rollout"

// FieldManager is the manager named on every write of a target.
const FieldManager = "kubectl-infer"
