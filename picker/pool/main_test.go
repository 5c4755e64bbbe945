package pool

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubectl-infer/kubectl-infer/picker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// until receives from values until one satisfies the condition.
func until[T any](t *testing.T, values <-chan T, what string, holds func(T) bool) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		select {
		case v := <-values:
			if holds(v) {
				return v
			}
		case <-ctx.Done():
			t.Fatalf("%s: did not happen in %v", what, patience)
		}
	}
}

// values lists the addresses of a snapshot, ! before those that may not be
// picked.
func values(s *picker.Snapshot) []string {
	out := []string{}
	for _, e := range s.Endpoints {
		value := e.Value
		if !e.Ready || e.Terminating {
			value = "!" + value
		}
		out = append(out, value)
	}
	return out
}
