//go:build soak

package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// slice is SOAK_SLICE=i/n: the ith of n parts of a campaign, counted from 1.
func slice(t *testing.T) (i, n int) {
	t.Helper()
	i, n = 1, 1
	if text := os.Getenv("SOAK_SLICE"); text != "" {
		if _, err := fmt.Sscanf(text, "%d/%d", &i, &n); err != nil || i < 1 || i > n {
			t.Fatalf("SOAK_SLICE=%q is not i/n", text)
		}
	}
	return i, n
}

// TestSoakCrashAtEachAPICall is TestCrashAtEachAPICall with every reference
// plan; a slice takes each nth call of every plan. SOAK_PLAN chooses one plan.
func TestSoakCrashAtEachAPICall(t *testing.T) {
	watch(t)
	i, n := slice(t)
	for _, ref := range references() {
		if plan := os.Getenv("SOAK_PLAN"); plan == "" || plan == ref.name {
			t.Run(ref.name, func(t *testing.T) {
				crashMatrix(t, ref, func(call int) bool { return (call-1)%n == i-1 })
			})
		}
	}
}

// kills is how often a run is killed: SOAK_KILLS, or 1,000; of them the present
// slice only.
func kills(t *testing.T) (from, to int) {
	t.Helper()
	all := 1000
	if text := os.Getenv("SOAK_KILLS"); text != "" {
		var err error
		if all, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	i, n := slice(t)
	return all * (i - 1) / n, all * i / n
}

// TestSoakKilledAtRandom kills rollouts of three steps with bakes of one second
// at random moments with SIGKILL. What follows is by turns the same command,
// which may be killed again, or an abort; nothing may be over the ceiling at any
// version the API server stored, and every run must end where it should.
func TestSoakKilledAtRandom(t *testing.T) {
	watch(t)
	from, to := kills(t)
	var mu sync.Mutex
	done := from
	began := time.Now()
	ends := map[string]int{}
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			for round := 0; !t.Failed(); round++ {
				mu.Lock()
				n := done
				mu.Unlock()
				if end, bounded := t.Deadline(); n >= to || (bounded && time.Until(end) < time.Minute) {
					return // the log says how many there were
				}
				killed, end := killedRun(t, fmt.Sprintf("kill-%d-%d-%d", from, lane, round), rand.New(rand.NewPCG(uint64(from), uint64(1000*lane+round))))
				mu.Lock()
				done += killed
				ends[end]++
				mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { t.Logf("%d kills in %v, ends %v", done-from, time.Since(began).Round(time.Second), ends) })
}

// killedRun kills one rollout until it is over, and says how often.
func killedRun(t *testing.T, name string, rng *rand.Rand) (killed int, end string) {
	t.Helper()
	before := given(newRoute(t, name, 100, 0))
	run := quick(name, "25,50,100", "--bake", "1s")
	for {
		if killed > 0 && rng.IntN(4) == 0 {
			out := shared.s.command(t.Context(), "canary", "abort", "httproute/"+name, "--lease-duration", "1s")
			after := getRoute(t, name)
			if out.code == 1 && canaryWeight(after) == 100 && len(after.GetAnnotations()) == 0 {
				return killed, "promoted"
			}
			if out.code == 1 && given(after) == before {
				return killed, "never begun" // killed before the journal had anything
			}
			if out.code != 0 || given(after) != before {
				t.Errorf("abort after %d kills: %v\nbefore %s\nafter  %s", killed, out, before, given(after))
			}
			return killed, "aborted"
		}
		cmd := shared.s.prepareCommand(t.Context(), shared.s.restricted, run...)
		ended := make(chan output, 1)
		go func() { ended <- collect(cmd) }()
		timer := time.NewTimer(time.Duration(rng.Int64N(int64(8 * time.Second))))
		select {
		case out := <-ended:
			timer.Stop()
			if after := getRoute(t, name); out.code != 0 || canaryWeight(after) != 100 || len(after.GetAnnotations()) > 0 {
				t.Errorf("after %d kills: canary weight %d, annotations %v: %v", killed, canaryWeight(after), after.GetAnnotations(), out)
			}
			return killed, "promoted"
		case <-timer.C:
		}
		if cmd.Process != nil && cmd.Process.Kill() == nil {
			killed++
		}
		<-ended
		checkCeiling(t, name)
	}
}
