package sandbox

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestPartsLiveAndDieTogether(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	patient := func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("what ending broke is no news")
	}
	tests := []struct {
		rule string
		part func(context.Context) error
		want string // "" is no error
	}{
		{"an error ends all and is told with its part's name", func(context.Context) error { return broken }, "part: broken"},
		{"an end without error is one", func(context.Context) error { return nil }, "part ended by itself"},
		{"ErrDown is an end on purpose", func(context.Context) error { return ErrDown }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t.Context())
			g.start("patient", patient)
			g.start("part", tt.part)
			err := g.wait()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("wait returns %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("the outer context's end is no error", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		g := newGroup(ctx)
		g.start("patient", patient)
		cancel()
		if err := g.wait(); err != nil {
			t.Errorf("wait returns %v", err)
		}
	})
}

func TestNetworksAreHeldOnce(t *testing.T) {
	t.Parallel()
	first, err := claim()
	if err != nil {
		t.Fatal(err)
	}
	defer first.lock.Close()
	second, err := claim()
	if err != nil {
		t.Fatal(err)
	}
	defer second.lock.Close()
	if first.n == second.n {
		t.Errorf("both have %s", first)
	}
}
