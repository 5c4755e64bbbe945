//go:build soak

package dataplane

import (
	"fmt"
	"os"
	"testing"
)

// The long campaigns, run by: go test -tags soak -run 'Soak' -timeout 0 ./e2e/dataplane

// TestSoakRollingRestarts is 200 restarts in each mode; with SOAK_SLICE=i/n, the
// i-th of n parts of them.
func TestSoakRollingRestarts(t *testing.T) {
	part, parts := 1, 1
	if slice := os.Getenv("SOAK_SLICE"); slice != "" {
		if _, err := fmt.Sscanf(slice, "%d/%d", &part, &parts); err != nil || part < 1 || part > parts {
			t.Fatalf("SOAK_SLICE is %q, not i/n with i from 1 to n", slice)
		}
	}
	for _, mode := range []string{modeBuffered, modeFullDuplex} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			rollingRestarts(t, mode, "1s", 200*part/parts-200*(part-1)/parts)
		})
	}
}

func TestSoakHostileBodies(t *testing.T) { hostileBodies(t, 64, 512) }

func TestSoakIdleStreams(t *testing.T) { idleStreams(t, 10_000, 600) }
