package drive

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAWaitEndsWhenATargetIsWritten(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		changes []time.Duration // since the wait began
		cancel  time.Duration   // 0 for never
		waits   time.Duration   // of an hour asked for
	}{
		"nothing happens":                           {nil, 0, time.Hour},
		"a write ends it at once":                   {[]time.Duration{7 * time.Second}, 0, 7 * time.Second},
		"one that came just before ends it too":     {[]time.Duration{0}, 0, wakeGap},
		"many writes do not make a busy loop of it": {[]time.Duration{0, 1, 2, 3}, 0, wakeGap},
		"the end of the run ends it":                {nil, time.Minute, time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c := &Waking{changed: make(chan struct{}, 1)}
				for _, at := range tt.changes {
					time.AfterFunc(at, c.wake)
				}
				if tt.cancel > 0 {
					time.AfterFunc(tt.cancel, cancel)
				}
				began := time.Now()
				c.Wait(ctx, time.Hour)
				if took := time.Since(began); took != tt.waits {
					t.Errorf("waited %v, want %v", took, tt.waits)
				}
			})
		})
	}
}
