package extproc

import (
	"math"
	"os"
	"runtime/debug"
)

// LimitMemory tells the garbage collector where to work harder, unless
// $GOMEMLIMIT does: at the bytes of the bodies, a sixteenth for the program and
// what surrounds them, and what else the program keeps.
func LimitMemory(bodies, rest int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bodies + max(bodies/16, 32<<20) + rest)
	}
}

// relaxedPercent is the garbage, in percent of live memory, at which Go collects
// while the memory limit is far. A server's live memory is a few MiB between
// bodies, and at Go's default of 100 percent it would collect all the
// time: a sixth of the CPU time of a 128 KiB request, see docs/benchmarks.md.
const relaxedPercent = 400

// relaxCollector lets more garbage pile up where a memory limit ends that in
// time. Without one, or where $GOGC says otherwise, nothing changes.
func relaxCollector() {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(relaxedPercent)
	}
}
