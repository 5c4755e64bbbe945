package hint_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestHint(t *testing.T) {
	t.Parallel()
	base := errors.New("get httproute default/chat: not found")
	inner := hint.Wrap(base, "kubectl get httproutes")
	tests := map[string]struct {
		err  error
		want string
	}{
		"an error without a hint has none":          {base, ""},
		"a hint survives wrapping":                  {fmt.Errorf("preflight: %w", inner), "kubectl get httproutes"},
		"the outermost hint wins":                   {hint.Wrap(inner, "outer"), "outer"},
		"a nil error stays nil and carries no hint": {hint.Wrap(nil, "x"), ""},
		"Errorf wraps with %w and keeps the hint":   {hint.Errorf("again", "run: %w", base), "again"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := hint.Of(tt.err); got != tt.want {
				t.Errorf("Of() = %q, want %q", got, tt.want)
			}
		})
	}
	if !errors.Is(hint.Errorf("h", "run: %w", base), base) {
		t.Error("Errorf lost the wrapped error")
	}
}
