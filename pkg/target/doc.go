// Package target writes weights to the objects that carry them. Start at
// HTTPRoute, the only kind so far: two backendRefs of one rule.
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

import (
	"fmt"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// StampAnnotation is the fence: its value names the run and epoch that may
// write, every patch tests it, and it is removed at the end.
const StampAnnotation = "kubectl-infer.github.io/rollout"

// FieldManager is the manager named on every write of a target.
const FieldManager = "kubectl-infer"

// errFenced says that the target carries another run's stamp.
func errFenced(name string) error {
	return fmt.Errorf("httproute %s is stamped by another run: %w", name, rollout.ErrSuperseded)
}
