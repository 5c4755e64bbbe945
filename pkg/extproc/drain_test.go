package extproc

import (
	"testing"
	"time"
)

func TestTheDrainWindow(t *testing.T) {
	t.Parallel()
	for rule, tt := range map[string]struct {
		window, timeout  time.Duration
		newest, now, end time.Duration // since the drain began
	}{
		"is waited for":                                 {5, 20, -1000, 0, 5},
		"is over when it is over":                       {5, 20, -1000, 6, 5},
		"starts anew with each request":                 {5, 20, 3, 4, 8},
		"starts anew half of the drain timeout at most": {5, 20, 14, 14, 15},
		"does not count requests before it":             {5, 20, -1, 0, 5},
		"of zero is none, whatever comes":               {0, 20, 3, 4, 0},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			began := time.Unix(1000, 0)
			at := func(s time.Duration) time.Time { return began.Add(s * time.Second) }
			o := Options{DrainWindow: tt.window * time.Second, DrainTimeout: tt.timeout * time.Second}
			if got := o.untilQuiet(began, at(tt.newest), at(tt.now)); got != (tt.end-tt.now)*time.Second {
				t.Errorf("got %v", got)
			}
		})
	}
}
