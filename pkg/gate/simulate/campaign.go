package simulate

import (
	"fmt"
	"slices"
	"time"

	"gonum.org/v1/gonum/mathext"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// Tally is what became of many runs.
type Tally struct {
	Runs  int
	Looks int
	Alarm map[string]int   // runs rolled back, by judge
	Need  map[string][]int // canary requests until then, by judge
	Gates map[string]int   // our rollbacks, by gate
	Phi   []float64
}

// Run makes runs with the seeds from, from+1, … and adds them up.
func (c Case) Run(from uint64, runs int) (Tally, error) {
	t := Tally{Alarm: map[string]int{}, Need: map[string][]int{}, Gates: map[string]int{}}
	var limits []gate.Expr
	if c.Shape.AtLimit {
		limits = Limits(c.Shape, c.Plan)
		if c.Only > 0 {
			limits = limits[c.Only-1 : c.Only]
		}
	}
	for i := range runs {
		run, err := Rollout(c.Shape, c.Plan, c.Harm, limits, from+uint64(i))
		if err != nil {
			return t, fmt.Errorf("simulate %q, seed %d: %w", c.Name, from+uint64(i), err)
		}
		t.add(run)
	}
	return t, nil
}

func (t *Tally) add(run Run) {
	t.Runs++
	t.Looks += run.Looks
	t.Phi = append(t.Phi, run.Phi...)
	for judge, requests := range run.Judged {
		t.Alarm[judge]++
		t.Need[judge] = append(t.Need[judge], requests)
	}
	if _, crossed := run.Judged[Ours]; crossed {
		t.Gates[run.Gate]++
	}
}

// Plus adds two tallies.
func (t Tally) Plus(u Tally) Tally {
	sum := Tally{
		Runs: t.Runs + u.Runs, Looks: t.Looks + u.Looks,
		Alarm: map[string]int{}, Need: map[string][]int{}, Gates: map[string]int{},
		Phi: slices.Concat(t.Phi, u.Phi),
	}
	for _, part := range []Tally{t, u} {
		for judge, n := range part.Alarm {
			sum.Alarm[judge] += n
			sum.Need[judge] = slices.Concat(sum.Need[judge], part.Need[judge])
		}
		for g, n := range part.Gates {
			sum.Gates[g] += n
		}
	}
	return sum
}

// Rate is the part of the runs that a judge rolled back, and its one-sided 95 %
// upper limit (Clopper and Pearson 1934).
func (t Tally) Rate(judge string) (rate, upper float64) {
	k, n := float64(t.Alarm[judge]), float64(t.Runs)
	if t.Runs == 0 || t.Alarm[judge] == t.Runs {
		return 1, 1
	}
	return k / n, mathext.InvRegIncBeta(k+1, n-k, 0.95)
}

// Needed is a quantile over all runs of the canary requests a judge needed; ok
// is false when so many runs were never rolled back.
func (t Tally) Needed(judge string, q float64) (requests int, ok bool) {
	need := slices.Sorted(slices.Values(t.Need[judge]))
	at := int(q * float64(t.Runs))
	if at >= len(need) {
		return 0, false
	}
	return need[at], true
}

// PhiQuantile is a quantile of the φ that the steps used.
func (t Tally) PhiQuantile(q float64) float64 {
	if len(t.Phi) == 0 {
		return 1
	}
	sorted := slices.Sorted(slices.Values(t.Phi))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// Limits are absolute gates that a healthy fleet of this shape meets exactly: its
// own p95s and its own rate of errors over a long time.
func Limits(shape Shape, plan Plan) []gate.Expr {
	f := newFleet(shape, 0xa11)
	f.weight = float64(shape.Canary) / float64(shape.Canary+shape.Stable)
	var windows [][]sample
	var failed, all int
	for range int(4 * time.Hour / plan.Scrape) {
		pods := f.window(plan.Scrape)
		windows = append(windows, pods)
		for _, s := range pods {
			failed, all = failed+s.failed, all+s.failed+s.finished
		}
	}
	latency := func(m gate.Metric) gate.Expr {
		return gate.Expr{Metric: m, Quantile: 0.95, Limit: quantile(windows, m, 0.95)}
	}
	rate := max(float64(failed)/float64(all), 1e-4)
	return []gate.Expr{{Metric: gate.Errors, Limit: rate}, latency(gate.TTFT), latency(gate.TPOT)}
}
