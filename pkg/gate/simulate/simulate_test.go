package simulate

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// This is the quick version of the proof: the whole one is
// go run ./e2e/gatesim, with its tables in docs/gates.md.

func shape(t *testing.T, name string) Shape {
	t.Helper()
	for _, s := range Shapes() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no shape %q", name)
	return Shape{}
}

// rolledBack counts, by judge, the runs that were rolled back.
func rolledBack(t *testing.T, s Shape, plan Plan, harm Harm, limits []gate.Expr, runs int) map[string]int {
	t.Helper()
	sum := map[string]int{}
	for seed := range runs {
		run, err := Rollout(s, plan, harm, limits, uint64(1000+seed))
		if err != nil {
			t.Fatal(err)
		}
		for judge := range run.Judged {
			sum[judge]++
		}
	}
	return sum
}

func TestHealthyCanariesAtTheirLimitsStay(t *testing.T) {
	t.Parallel()
	s, plan := shape(t, "at the limit, fleet stalls, bursts, clumped errors"), DefaultPlan()
	plan.Weights = []float64{0.10, 0.20, 0.35, 0.50}
	limits := Limits(s, plan)
	const runs = 8
	with := rolledBack(t, s, plan, Harm{}, limits, runs)
	if with[Ours] > 0 {
		t.Errorf("%d of %d healthy runs were rolled back", with[Ours], runs)
	}
	if with["Argo failureLimit 0"] < runs/2 {
		t.Errorf("a bare threshold rolled back %d of %d: these traces no longer tell judges apart", with["Argo failureLimit 0"], runs)
	}
	plan.Phi = PhiOne
	if without := rolledBack(t, s, plan, Harm{}, limits, runs); without[Ours] == 0 {
		t.Errorf("none of %d runs was rolled back without φ: these traces no longer need it", runs)
	}
}

func TestHarmfulCanariesAreFound(t *testing.T) {
	t.Parallel()
	tests := map[string]Harm{
		"a canary twice as slow":            {Slow: 2},
		"a canary that fails a fifth":       {Errors: 0.2},
		"a canary that turns bad late":      {Slow: 2, From: 3},
		"first tokens that come half a min": {LateFirst: 0.3},
	}
	for name, harm := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := rolledBack(t, shape(t, "pod stalls"), DefaultPlan(), harm, nil, 2)
			if found[Ours] != 2 {
				t.Errorf("%d of 2 were rolled back", found[Ours])
			}
		})
	}
}

func TestTheSameSeedGivesTheSameRun(t *testing.T) {
	t.Parallel()
	s := shape(t, "low traffic, stalls")
	plan := DefaultPlan()
	plan.Deadline = 3 * time.Minute
	var runs [3]Run
	for i, seed := range []uint64{7, 7, 8} {
		run, err := Rollout(s, plan, Harm{}, nil, seed)
		if err != nil {
			t.Fatal(err)
		}
		runs[i] = run
	}
	if !reflect.DeepEqual(runs[0], runs[1]) {
		t.Error("two runs with one seed differ")
	}
	if reflect.DeepEqual(runs[0].Phi, runs[2].Phi) {
		t.Error("two seeds give one run")
	}
}

func TestPeersCountMissesAsTheyDo(t *testing.T) {
	t.Parallel()
	bound := gate.Bound{Expr: gate.Expr{Metric: gate.TTFT, Quantile: 0.95, Limit: 1}, HarmEdge: 1, P0: 0.05}
	good, bad, silent := []uint64{1, 0}, []uint64{0, 1}, []uint64{0, 0}
	tests := map[string]struct {
		peer  int
		check [][]uint64 // one for each interval
		want  int        // the check that rolls back, from 1; 0 is none
	}{
		"Argo with failureLimit 0 goes at the first miss":          {0, [][]uint64{good, bad}, 2},
		"Argo with failureLimit 3 tolerates three":                 {1, [][]uint64{bad, bad, bad, good, good}, 0},
		"Argo with failureLimit 3 goes at the fourth":              {1, [][]uint64{bad, bad, good, bad, good, bad}, 6},
		"Argo does not miss where there is nothing to measure":     {0, [][]uint64{silent, silent}, 0},
		"Flagger goes at its threshold, good checks do not help":   {2, [][]uint64{bad, good, bad, bad, good, bad, bad}, 7},
		"Flagger counts a metric without values":                   {2, [][]uint64{silent, silent, silent, silent, silent}, 5},
		"Flagger with a higher threshold waits for so many misses": {3, [][]uint64{bad, bad, bad, bad, bad, bad}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, at := newPeers()[tt.peer], 0
			for i, s := range tt.check {
				if p.look(p.interval, [][]uint64{s}, []gate.Bound{bound}, [][]float64{{1}}) && at == 0 {
					at = i + 1
				}
			}
			if at != tt.want {
				t.Errorf("%s rolled back at check %d, want %d", p.name, at, tt.want)
			}
		})
	}
}

func TestTallyAddsUp(t *testing.T) {
	t.Parallel()
	one := Tally{Runs: 100, Alarm: map[string]int{Ours: 0}}
	two := Tally{Runs: 100, Alarm: map[string]int{Ours: 2}, Need: map[string][]int{Ours: {30, 10}}}
	all := one.Plus(two)
	if rate, upper := all.Rate(Ours); rate != 0.01 || math.Abs(upper-0.0311) > 0.0005 {
		t.Errorf("2 of 200: rate %g, upper limit %g; want 0.01 and 0.0311", rate, upper)
	}
	if _, upper := one.Rate(Ours); math.Abs(upper-0.0295) > 0.0005 {
		t.Errorf("0 of 100: upper limit %g, want 0.0295", upper)
	}
	if _, ok := all.Needed(Ours, 0.5); ok {
		t.Error("half of the runs are said to be found, 1 % were")
	}
	if n, ok := all.Needed(Ours, 0.005); !ok || n != 30 {
		t.Errorf("second smallest need is %d, %v; want 30", n, ok)
	}
}
