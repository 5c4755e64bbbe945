package extproc

import (
	"math"
	"runtime/debug"
	"testing"
)

// The collector's settings are the process's: these cases cannot run beside other
// tests.
func TestCollectorIsRelaxedOnlyUnderAMemoryLimit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int64
		gogc  string
		want  int
	}{
		{"a memory limit ends the piling up", 1 << 40, "", relaxedPercent},
		{"no limit, no change", math.MaxInt64, "", 77},
		{"$GOGC wins", 1 << 40, "77", 77},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GOGC", tt.gogc)
			limit, percent := debug.SetMemoryLimit(tt.limit), debug.SetGCPercent(77)
			t.Cleanup(func() {
				debug.SetMemoryLimit(limit)
				debug.SetGCPercent(percent)
			})
			relaxCollector()
			if got := debug.SetGCPercent(77); got != tt.want {
				t.Errorf("collects at %d %%, want %d %%", got, tt.want)
			}
		})
	}
}
