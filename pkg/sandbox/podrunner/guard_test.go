package podrunner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// guarded is a child that ends when it is stopped.
type guarded struct{ ended chan struct{} }

func (g guarded) Done() <-chan struct{} { return g.ended }
func (g guarded) Err() error            { return nil }
func (g guarded) Kill()                 { close(g.ended) }

func (g guarded) Stop(time.Duration) error {
	close(g.ended)
	return nil
}

func TestProbesEndTheProcess(t *testing.T) {
	t.Parallel()
	healthyUntil := func(from, to time.Duration) *probe { // passes between two times
		began := time.Now()
		return &probe{period: time.Second, timeout: time.Second, failures: 3, check: func(context.Context) error {
			if since := time.Since(began); since < from || since >= to {
				return errors.New("not now")
			}
			return nil
		}}
	}
	tests := []struct {
		rule              string
		startup, liveness func() *probe
		endedAfter        time.Duration // 0: it lives
		said              string
	}{
		{
			"failureThreshold liveness failures in a row end it", nil,
			func() *probe { return healthyUntil(0, 5500*time.Millisecond) }, 8 * time.Second, "liveness",
		},
		{"a healthy one lives", nil, func() *probe { return healthyUntil(0, time.Hour) }, 0, ""},
		{
			"what does not start within period times failureThreshold is ended",
			func() *probe { return healthyUntil(time.Hour, time.Hour) }, nil, 3 * time.Second, "startup",
		},
		{
			"liveness begins when the startup probe has passed",
			func() *probe { return healthyUntil(2*time.Second, time.Hour) },
			func() *probe { return healthyUntil(2*time.Second, time.Hour) }, 0, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var said []string
				c := &container{changed: func() {}, say: func(_, _, message string) { said = append(said, message) }}
				c.status.Name = "server"
				if tt.startup != nil {
					c.startup = tt.startup()
				}
				if tt.liveness != nil {
					c.liveness = tt.liveness()
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				p := guarded{make(chan struct{})}
				c.guard(ctx, p)
				select {
				case <-p.ended:
					if took := time.Since(began); took != tt.endedAfter {
						t.Errorf("ended after %s, want %s", took, tt.endedAfter)
					}
				default:
					<-ctx.Done()
					if tt.endedAfter != 0 {
						t.Error("it was not ended")
					}
				}
				if !slices.ContainsFunc(said, func(m string) bool { return strings.Contains(m, tt.said) }) && tt.said != "" || tt.said == "" && len(said) > 0 {
					t.Errorf("events %q, want one about %q", said, tt.said)
				}
			})
		})
	}
}
