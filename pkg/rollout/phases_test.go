package rollout_test

import (
	"os"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

func TestTheDocsShowTheTableOfTransitions(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), rollout.TransitionTable()) {
		t.Errorf("docs/reliability.md lacks this table:\n%s", rollout.TransitionTable())
	}
}

// listed says whether the table allows a change of phase.
func listed(from, to rollout.Phase) bool {
	for _, t := range rollout.Transitions() {
		if t.From == from && t.To == to {
			return true
		}
	}
	return from == to || from == ""
}
