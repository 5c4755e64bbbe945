package simulate

import (
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/edges"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// Plan is a rollout.
type Plan struct {
	Gates       []string
	Weights     []float64     // by step
	Bake        time.Duration // of each step, at least
	Deadline    time.Duration // of a step that does not get its requests
	Calibration time.Duration // on stable alone, before the first step
	Scrape      time.Duration
	Settle      time.Duration // after each move, discarded
	MinRequests uint64        // of the canary, for every gate
	Alpha       float64
	Phi         PhiRule
}

// PhiRule says where φ comes from.
type PhiRule string

// The rules.
const (
	PhiEstimated PhiRule = "estimated" // as a real run does
	PhiOne       PhiRule = "one"       // not at all, to show what it is for
)

// DefaultPlan is three gates against stable over four steps.
func DefaultPlan() Plan {
	return Plan{
		Gates:   []string{"errors < 1.2x stable or < 0.5%", "ttft p95 < 1.5x stable", "tpot p95 < 1.5x stable"},
		Weights: []float64{0.10, 0.25, 0.50, 1}, Bake: 2 * time.Minute, Deadline: 10 * time.Minute,
		Calibration: 10 * time.Minute, Scrape: 2 * time.Second, Settle: 10 * time.Second,
		MinRequests: gate.DefaultFloor, Alpha: 0.01, Phi: PhiEstimated,
	}
}

// Run is what became of one rollout.
type Run struct {
	Judged   map[string]int // by judge that rolled back: canary requests since the harm began
	Gate     string         // the gate that our rollback named
	Step     int
	Looks    int
	Requests int       // of the canary, since the harm began
	Phi      []float64 // by step and gate
}

// Ours is the name of gate.Board among the judges.
const Ours = "kubectl-infer"

type rollout struct {
	plan     Plan
	fleet    *fleet
	exprs    []gate.Expr
	edges    [][]float64 // by gate
	board    *gate.Board
	peers    []*peer
	baseline []gate.Baseline // by gate: what stable showed lately
	lives    [2]gate.Life
	harming  bool
	run      Run
}

// Rollout simulates one run. limits are the gates of a shape AtLimit; nil for
// those of the plan.
func Rollout(shape Shape, plan Plan, harm Harm, limits []gate.Expr, seed uint64) (Run, error) {
	r := rollout{plan: plan, fleet: newFleet(shape, seed), exprs: limits, peers: newPeers()}
	r.run.Judged = map[string]int{}
	for _, text := range plan.Gates {
		if limits != nil {
			break
		}
		e, err := gate.Parse(text)
		if err != nil {
			return Run{}, err
		}
		r.exprs = append(r.exprs, e)
	}
	planned := make([]gate.Bound, len(r.exprs))
	for g, e := range r.exprs {
		planned[g] = gate.Bound{Expr: e, P0: e.P0()}
		r.edges = append(r.edges, exported(e))
	}
	r.baseline = make([]gate.Baseline, len(r.exprs))
	board, err := gate.NewBoard(planned, len(plan.Weights), plan.Alpha)
	if err != nil {
		return Run{}, fmt.Errorf("simulate rollout: %w", err)
	}
	r.board = board
	r.serve(plan.Settle)
	for range int(plan.Calibration / plan.Scrape) {
		r.remember(r.fleet.window(plan.Scrape)[:shape.Stable])
	}
	for step, weight := range plan.Weights {
		r.fleet.weight, r.harming = weight, harm != Harm{} && step >= harm.From
		if r.harming {
			r.fleet.harm = harm
		}
		if err := r.step(step); err != nil {
			return Run{}, err
		}
		if _, found := r.run.Judged[Ours]; found && r.harming {
			break // what comes after tells nothing more
		}
	}
	return r.run, nil
}

// exported are the bucket edges a gate is read with: our picker's, and a limit
// of its own among them.
func exported(e gate.Expr) []float64 {
	if e.Metric == gate.Errors {
		return nil
	}
	list := edges.Latency()
	if at, known := slices.BinarySearch(list, e.Limit); !known && !e.Comparison() {
		list = slices.Insert(list, at, e.Limit)
	}
	return list
}

// serve lets traffic go by unseen.
func (r *rollout) serve(d time.Duration) {
	for range int(d / r.plan.Scrape) {
		r.fleet.window(r.plan.Scrape)
	}
}

// remember adds a window of stable's and returns its rows.
func (r *rollout) remember(stable []sample) [][]uint64 {
	rows := r.rows(stable)
	for g, row := range rows {
		r.baseline[g] = r.baseline[g].Add(row)
	}
	return rows
}

func (r *rollout) rows(pods []sample) [][]uint64 {
	rows := make([][]uint64, len(r.exprs))
	for g, e := range r.exprs {
		rows[g] = row(pods, e.Metric, r.edges[g])
	}
	return rows
}

func (r *rollout) step(i int) error {
	bounds, err := r.fix(i)
	if err != nil {
		return err
	}
	if err := r.board.EnterStep(i, bounds...); err != nil {
		return fmt.Errorf("simulate rollout: %w", err)
	}
	r.serve(r.plan.Settle)
	seen := make([]uint64, len(bounds))
	for at := r.plan.Scrape; at <= r.plan.Deadline; at += r.plan.Scrape {
		if err := r.look(i, bounds, seen); err != nil {
			return err
		}
		enough := true
		for _, n := range seen {
			enough = enough && n >= r.plan.MinRequests
		}
		found := r.harming && len(r.run.Judged) > len(r.peers)
		if found || at >= r.plan.Bake && enough {
			break
		}
	}
	return nil
}

// fix takes edges and φ for a step from stable's windows before it.
func (r *rollout) fix(step int) ([]gate.Bound, error) {
	bounds := make([]gate.Bound, len(r.exprs))
	for g, e := range r.exprs {
		b, err := r.baseline[g].Fix(e, r.edges[g], r.plan.Weights[step] == 1)
		if err != nil {
			return nil, fmt.Errorf("simulate rollout: %w", err)
		}
		if r.plan.Phi == PhiOne {
			b.Phi = 1
		}
		r.run.Phi = append(r.run.Phi, b.Phi)
		bounds[g] = b
	}
	return bounds, nil
}

// look gives one scrape window to every judge.
func (r *rollout) look(step int, bounds []gate.Bound, seen []uint64) error {
	pods := r.fleet.window(r.plan.Scrape)
	n := r.fleet.shape.Stable
	stable, canary := r.remember(pods[:n]), r.rows(pods[n:])
	r.run.Looks++
	if r.harming {
		for _, s := range pods[n:] {
			r.run.Requests += len(s.ttft)
		}
	}
	for g, b := range bounds {
		c := b.Count(canary[g], r.edges[g])
		seen[g] += c.Requests
		if err := r.board.Update(g, c, b.Count(stable[g], r.edges[g])); err != nil {
			return fmt.Errorf("simulate rollout: %w", err)
		}
	}
	if _, known := r.run.Judged[Ours]; !known {
		if c, crossed := r.board.Crossed(); crossed {
			r.run.Judged[Ours], r.run.Gate, r.run.Step = r.run.Requests, bounds[c.Gate].Expr.String(), step
		} else if r.sick(pods[:n], pods[n:]) {
			r.run.Judged[Ours], r.run.Gate, r.run.Step = r.run.Requests, "health", step
		}
	}
	for _, p := range r.peers {
		if _, known := r.run.Judged[p.name]; !known && p.look(r.plan.Scrape, canary, bounds, r.edges) {
			r.run.Judged[p.name] = r.run.Requests
		}
	}
	return nil
}

// sick applies the health gates, which are part of the proof: a stall must not
// look like a hung canary.
func (r *rollout) sick(stable, canary []sample) bool {
	for arm, pods := range [][]sample{stable, canary} {
		glance := gate.Glance{At: r.fleet.clock, Scraped: true}
		for _, s := range pods {
			glance.Running += s.running
			glance.Progress = glance.Progress || s.progress
		}
		r.lives[arm].Ready = len(pods)
		r.lives[arm] = r.lives[arm].Look(glance)
	}
	verdict, _ := gate.CheckHealth(gate.HealthLimits{ScrapeInterval: r.plan.Scrape}, gate.HealthObservation{
		Now: r.fleet.clock, Stable: r.lives[0], Canary: r.lives[1],
	})
	return verdict == gate.Fail
}
