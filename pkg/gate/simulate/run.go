package simulate

import (
	"fmt"
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
		Weights: []float64{0.10, 0.20, 0.35, 0.50}, Bake: 2 * time.Minute, Deadline: 10 * time.Minute,
		Calibration: 5 * time.Minute, Scrape: 2 * time.Second, Settle: 10 * time.Second,
		MinRequests: gate.DefaultFloor, Alpha: 0.01, Phi: PhiEstimated,
	}
}

// history is how many of stable's latest windows φ and quantiles are taken from.
const history = 450

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
	plan    Plan
	fleet   *fleet
	bounds  []gate.Bound // of the plan
	board   *gate.Board
	peers   []*peer
	stable  [][]sample // stable's windows so far, the latest last
	lives   [2]gate.Life
	harming bool
	run     Run
}

// Rollout simulates one run. limits are those of a shape AtLimit, else nil.
func Rollout(shape Shape, plan Plan, harm Harm, limits []gate.Bound, seed uint64) (Run, error) {
	r := rollout{plan: plan, fleet: newFleet(shape, seed), bounds: limits, peers: newPeers()}
	r.run.Judged = map[string]int{}
	if limits == nil {
		bounds, err := planned(plan)
		if err != nil {
			return Run{}, err
		}
		r.bounds = bounds
	}
	board, err := gate.NewBoard(r.bounds, len(plan.Weights), plan.Alpha)
	if err != nil {
		return Run{}, fmt.Errorf("simulate rollout: %w", err)
	}
	r.board = board
	r.serve(plan.Settle)
	for range int(plan.Calibration / plan.Scrape) {
		r.remember(r.fleet.window(plan.Scrape))
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

func planned(plan Plan) ([]gate.Bound, error) {
	var bounds []gate.Bound
	for _, text := range plan.Gates {
		e, err := gate.Parse(text)
		if err != nil {
			return nil, err
		}
		bounds = append(bounds, gate.Bound{Expr: e, P0: e.P0()})
		if e.Metric == gate.Errors && e.Comparison() {
			bounds[len(bounds)-1].P0 = 0
		}
	}
	return bounds, nil
}

// serve lets traffic go by unseen.
func (r *rollout) serve(d time.Duration) {
	for range int(d / r.plan.Scrape) {
		r.fleet.window(r.plan.Scrape)
	}
}

func (r *rollout) remember(pods []sample) {
	r.stable = append(r.stable, pods[:r.fleet.shape.Stable])
	if len(r.stable) > history {
		r.stable = r.stable[1:]
	}
}

func (r *rollout) step(i int) error {
	bounds, err := r.rebind()
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

// rebind fixes edges and φ for a step, from stable's windows before it.
func (r *rollout) rebind() ([]gate.Bound, error) {
	bounds := make([]gate.Bound, len(r.bounds))
	for g, b := range r.bounds {
		e := b.Expr
		at := b.HarmEdge
		if e.Metric != gate.Errors && at == 0 {
			at = quantile(r.stable, e.Metric, e.Quantile)
			bound, err := e.BindStable(at, edges.Latency())
			if err != nil {
				return nil, fmt.Errorf("simulate rollout: %w", err)
			}
			b = bound
		}
		b.Phi = 1
		if r.plan.Phi == PhiEstimated {
			// At stable's own quantile, where there is something to count.
			b.Phi = gate.StepPhi(podCounts(r.stable, e.Metric, at)).Upper
		}
		r.run.Phi = append(r.run.Phi, b.Phi)
		bounds[g] = b
	}
	return bounds, nil
}

// look gives one scrape window to every judge.
func (r *rollout) look(step int, bounds []gate.Bound, seen []uint64) error {
	pods := r.fleet.window(r.plan.Scrape)
	r.remember(pods)
	n := r.fleet.shape.Stable
	r.run.Looks++
	if r.harming {
		r.run.Requests += int(sum(pods[n:], gate.Bound{Expr: gate.Expr{Metric: gate.TTFT}}).Requests)
	}
	for g, b := range bounds {
		c := sum(pods[n:], b)
		seen[g] += c.Requests
		if err := r.board.Update(g, c, sum(pods[:n], b)); err != nil {
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
		if _, known := r.run.Judged[p.name]; !known && p.look(r.plan.Scrape, pods[n:], bounds) {
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
