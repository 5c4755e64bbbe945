//go:build soak

package dataplane

import "testing"

// The long campaigns, run by: go test -tags soak -run 'Soak' -timeout 0 ./e2e/dataplane

func TestSoakRollingRestarts(t *testing.T) {
	for _, mode := range []string{modeBuffered, modeFullDuplex} {
		t.Run(mode, func(t *testing.T) { t.Parallel(); rollingRestarts(t, mode, 100) })
	}
}

func TestSoakHostileBodies(t *testing.T) { hostileBodies(t, 64, 512) }

func TestSoakIdleStreams(t *testing.T) { idleStreams(t, 10_000, 600) }
