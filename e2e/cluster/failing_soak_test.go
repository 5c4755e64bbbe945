//go:build soak

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// failures is how many runs fail: SOAK_FAILURES, or 200.
func failures(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SOAK_FAILURES")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SOAK_FAILURES=%q is no number of runs", text)
	}
	return n
}

// failingFile keeps what is done, so that a second start goes on.
const failingFile = bin + "/failing.jsonl"

// failed is one line of failingFile.
type failed struct {
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took"` // from the deciding scrape to the restored route
}

// done reads the lines of earlier starts.
func done(t *testing.T) []time.Duration {
	t.Helper()
	raw, err := os.ReadFile(failingFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var list []time.Duration
	for line := range strings.Lines(string(raw)) {
		var f failed
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		list = append(list, f.Took)
	}
	return list
}

// TestSoakFailingRunsAreBackAtOnce breaks the canary and starts runs on many
// routes, in lanes of which as many run at once as -test.parallel allows, each of which a gate must take back, until failingFile
// has as many as asked for. From the deciding scrape to the baseline that the API
// server accepted and gave back, 99 of 100 take less than two seconds.
func TestSoakFailingRunsAreBackAtOnce(t *testing.T) {
	n := failures(t)
	if out := shared.s.command(t.Context(), "sandbox", "break", "deployment/qwen-v2", "--error-rate", "0.7"); out.code != 0 {
		t.Fatal(out)
	}
	t.Cleanup(func() {
		if out := shared.s.command(context.WithoutCancel(t.Context()), "sandbox", "break", "--reset"); out.code != 0 {
			t.Error(out)
		}
	})
	var mu sync.Mutex
	took := done(t)
	before, began := len(took), time.Now()
	file, err := os.OpenFile(failingFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := json.NewEncoder(file)
	t.Run("lanes", func(t *testing.T) {
		for lane := range 4 {
			t.Run(strconv.Itoa(lane), func(t *testing.T) {
				t.Parallel()
				for i := before + lane; i < n && !t.Failed(); i += 4 {
					if end, bounded := t.Deadline(); bounded && time.Until(end) < 20*time.Second {
						return // the log says how many there were
					}
					d := failingRun(t, fmt.Sprintf("failing-%d", i))
					mu.Lock()
					took = append(took, d)
					err := lines.Encode(failed{time.Now().UTC(), d})
					mu.Unlock()
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	})
	if len(took) == 0 {
		t.Fatal("not one run ended")
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[min(int(q*float64(len(took))), len(took)-1)] }
	t.Logf("%d failing runs, %d of them in %v: from the deciding scrape to the restored route median %v, p99 %v, longest %v",
		len(took), len(took)-before, time.Since(began).Round(time.Second), at(0.5), at(0.99), took[len(took)-1])
	if at(0.99) >= 2*time.Second {
		t.Errorf("p99 %v, want less than 2s", at(0.99))
	}
}

// failingRun is one rollout that a gate takes back, on a route of its own.
func failingRun(t *testing.T, name string) time.Duration {
	t.Helper()
	before := given(newRoute(t, name, 100, 0))
	out := shared.s.command(t.Context(), quick(name, "50", "--bake", "1m", "--probe", "none", "-o", "json")...)
	var result struct {
		Reason          string
		RollbackSeconds float64
	}
	if err := json.Unmarshal([]byte(out.stdout), &result); err != nil || out.code != 10 || !strings.Contains(result.Reason, "errors < 5%") {
		t.Errorf("%s: %v, want a rollback by the gate on errors: %v", name, err, out)
	}
	if after := given(getRoute(t, name)); after != before {
		t.Errorf("the route is not as before\nbefore %s\nafter  %s", before, after)
	}
	return time.Duration(result.RollbackSeconds * float64(time.Second)).Round(100 * time.Microsecond)
}
