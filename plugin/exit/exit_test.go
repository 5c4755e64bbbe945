package exit_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

func TestEveryOutcomeHasItsCode(t *testing.T) {
	t.Parallel()
	tests := map[rollout.Outcome]exit.Code{
		rollout.Done: 0, rollout.FailedGate: 10, rollout.Held: 11, rollout.Interrupted: 12, rollout.Drifted: 13,
		rollout.TakenOver: 14, rollout.RollbackIncomplete: 15, rollout.Unapproved: 17, rollout.Returned: 19, "unheard of": 1,
	}
	for outcome, want := range tests {
		if got := exit.For(outcome); got != want {
			t.Errorf("outcome %s exits %d, want %d", outcome, got, want)
		}
	}
}

func TestTheTableInTheDocsIsTheCode(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, code := range map[string]exit.Code{
		"OK": exit.OK, "Failure": exit.Failure, "Usage": exit.Usage, "RolledBack": exit.RolledBack, "Held": exit.Held,
		"Interrupted": exit.Interrupted, "Drift": exit.Drift, "LockHeld": exit.LockHeld,
		"RollbackIncomplete": exit.RollbackIncomplete, "PreflightRefused": exit.PreflightRefused, "Waiting": exit.Waiting, "CheckFailed": exit.CheckFailed, "Returned": exit.Returned,
	} {
		if row := fmt.Sprintf("| %d | %s |", code, name); !strings.Contains(string(doc), row) {
			t.Errorf("docs/exit-codes.md lacks the row %q", row)
		}
	}
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	refused := exit.With(exit.PreflightRefused, errors.New("refused"))
	tests := map[string]struct {
		err  error
		want exit.Code
	}{
		"no error is success":             {nil, exit.OK},
		"an error without a code fails":   {errors.New("x"), exit.Failure},
		"a code survives wrapping":        {fmt.Errorf("run: %w", refused), exit.PreflightRefused},
		"a code on nothing stays nothing": {exit.With(exit.Drift, nil), exit.OK},
	}
	for name, tt := range tests {
		if got := exit.CodeOf(tt.err); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
