package record_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/record"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// world is a cluster that obeys, most of the time, and its clock.
type world struct {
	r      *rand.Rand
	now    time.Time
	goal   rollout.Goal
	trips  bool          // calls fail now and then
	bad    [2]float64    // fraction of bad requests of stable and canary
	canary func() string // why the canary cannot be read
	queue  float64       // how much the query's answer strays; 0 for below its limit
	ends   int           // looks until the process is interrupted; 0 for never
	stop   context.CancelFunc
	kept   rollout.Record
}

func (w *world) Now() time.Time {
	w.now = w.now.Add(time.Duration(w.r.IntN(5)) * time.Millisecond)
	return w.now
}

func (w *world) Wait(_ context.Context, d time.Duration) { w.now = w.now.Add(d) }

func (w *world) call() error {
	if w.trips && w.r.IntN(8) == 0 {
		return errors.New("the API server is away")
	}
	return nil
}

func (w *world) Seize(context.Context, string) error { return w.call() }
func (w *world) Release(context.Context) error       { return w.call() }
func (w *world) Moved()                              {}

func (w *world) Read(_ context.Context, goal rollout.Goal) (rollout.Standing, error) {
	return rollout.Standing{Share: float64(max(w.goal, 0)), AtGoal: w.goal == goal, Accepted: w.r.IntN(3) > 0}, w.call()
}

func (w *world) Move(_ context.Context, _, goal rollout.Goal) error {
	if err := w.call(); err != nil {
		return err
	}
	w.goal = goal
	return nil
}

func (w *world) Load(context.Context) (rollout.Record, error) { return w.kept, w.call() }

func (w *world) Save(_ context.Context, r rollout.Record) error {
	w.kept = r
	return w.call()
}

func (w *world) Requests(context.Context) ([]rollout.Request, error) { return nil, nil }

func (w *world) Look(context.Context) rollout.Sample {
	if w.ends > 0 {
		if w.ends--; w.ends == 0 {
			w.stop()
		}
	}
	sample := rollout.Sample{Stable: w.arm(w.bad[0], 100-max(int(w.goal), 0)), Canary: w.arm(w.bad[1], max(int(w.goal), 0))}
	sample.Answers = []gate.Answer{{Value: (1 + w.queue) * float64(w.now.Unix()%7) / 1.7}}
	if w.now.Unix()%11 == 0 {
		sample.Answers[0] = gate.Answer{Missing: "prometheus: no value"}
	}
	if w.canary != nil {
		if why := w.canary(); why != "" {
			sample.Canary = rollout.Arm{Blind: why, Ready: 2}
		}
	}
	return sample
}

func (w *world) arm(bad float64, n int) rollout.Arm {
	var failed uint64
	row := make([]uint64, 4)
	for range n {
		if w.r.Float64() < bad {
			failed++
		}
		row[min(3, int(w.r.ExpFloat64()*0.8))]++
	}
	return rollout.Arm{
		Started: uint64(n), Finished: uint64(n), Progress: uint64(n), Ready: 2,
		Values: [][]uint64{{uint64(n) - failed, failed}, row},
	}
}

func (w *world) Transition(rollout.Record, string)    {}
func (w *world) Looked(rollout.State, rollout.Sample) {}
func (w *world) Trouble(rollout.Record, error)        {}

func plan() rollout.Plan {
	return rollout.Plan{
		Target: "httproute/chat", Namespace: "default", Stable: "v1", Canary: "v2",
		Steps: []int{25, 100}, Gates: []string{"errors < 5%", `promql "queue" < 5`, "ttft p50 < 4s"},
		Bake: 20 * time.Second, Settle: 4 * time.Second, ScrapeInterval: 2 * time.Second,
		StepDeadline: 5 * time.Minute, MinRequests: 100, Alpha: 0.01,
	}.Complete()
}

func edges() [][]float64 { return [][]float64{nil, {1, 2, 4}} }

// run carries a rollout out in w and records it.
func run(t *testing.T, w *world) (rollout.Result, string) {
	t.Helper()
	w.now, w.goal = time.Unix(1_700_000_000, 0), rollout.Baseline
	begin := rollout.Record{
		Format: rollout.RecordFormat, Run: "run", Epoch: 1, Write: 1, Plan: plan(), Baseline: json.RawMessage(`{}`), StableReady: 2,
		Phase: rollout.Ready, Goal: rollout.Baseline, From: rollout.Baseline, Started: w.now, Updated: w.now,
	}
	judge, err := rollout.NewGates(plan(), edges(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	writer := record.NewWriter(&file, record.Header{Started: w.now, Plan: plan(), Edges: edges(), Journal: &begin})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w.stop = stop
	result := rollout.Run(ctx, rollout.Begin(begin, judge), rollout.Deps{
		Targets: rollout.Group{w}, Journal: w, Evidence: w, Clock: w, Reporter: w, Trace: writer.Trace,
	})
	if err := writer.Err(); err != nil {
		t.Fatal(err)
	}
	return result, file.String()
}

func replay(t *testing.T, file string, gates ...string) record.Replayed {
	t.Helper()
	r, err := record.Read(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	got, err := record.Replay(r, gates)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestAReplayMakesTheSameDecisions holds 140 recorded runs against their
// replays, bit by bit: Replay compares every decision with its line.
func TestAReplayMakesTheSameDecisions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world){
		"a healthy canary":               func(*world) {},
		"a canary that fails":            func(w *world) { w.bad[1] = 0.3 },
		"an API server that trips":       func(w *world) { w.trips = true },
		"a canary that is often unseen":  func(w *world) { w.canary = func() string { return []string{"", "", "away"}[w.r.IntN(3)] } },
		"a process that is interrupted":  func(w *world) { w.ends = 1 + w.r.IntN(20) },
		"a query that strays":            func(w *world) { w.queue = w.r.Float64() },
		"failing, under tripping writes": func(w *world) { w.trips, w.bad[1] = true, 0.2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outcomes := map[rollout.Outcome]int{}
			for seed := range uint64(20) {
				w := &world{r: rand.New(rand.NewPCG(seed, 8)), bad: [2]float64{0.01, 0.01}}
				change(w)
				result, file := run(t, w)
				got := replay(t, file)
				if !got.Exact || got.Ended != result.Outcome || !reflect.DeepEqual(normal(t, got.Steps), normal(t, result.Record.Steps)) {
					t.Fatalf("seed %d ended as %s, its replay as %q (exact %v)", seed, result.Outcome, got.Ended, got.Exact)
				}
				outcomes[result.Outcome]++
			}
			t.Log(outcomes)
		})
	}
}

func normal(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAChangedCountChangesTheDecisionAndIsFound(t *testing.T) {
	t.Parallel()
	_, file := run(t, &world{r: rand.New(rand.NewPCG(1, 1)), bad: [2]float64{0.01, 0.3}})
	changed := strings.Replace(file, `"started":25,"finished":25`, `"started":25,"finished":24`, 30)
	if changed == file {
		t.Fatal("nothing was changed")
	}
	r, err := record.Read(strings.NewReader(changed))
	if err != nil {
		t.Fatal(err)
	}
	r.Lines = r.Lines[:len(r.Lines)-1]
	if got, err := record.Replay(r, nil); err == nil && got.Open == "" {
		t.Errorf("a record without its last decision ended as %q", got.Ended)
	}
	failing := strings.Replace(file, `"why":"gate`, `"why":"Gate`, 1)
	if r, err = record.Read(strings.NewReader(failing)); err != nil {
		t.Fatal(err)
	}
	if _, err = record.Replay(r, nil); err == nil || !strings.Contains(err.Error(), "the run decided") {
		t.Errorf("another reason was not noticed: %v", err)
	}
}

func TestOtherGatesOnTheSameWindows(t *testing.T) {
	t.Parallel()
	result, file := run(t, &world{r: rand.New(rand.NewPCG(2, 2)), bad: [2]float64{0.01, 0.25}})
	if result.Outcome != rollout.FailedGate {
		t.Fatal(result.Outcome, result.Why)
	}
	if got := replay(t, file, "errors < 40%"); got.Exact || got.Ended != "" || got.Open == "" {
		t.Errorf("a gate that would not have objected: %+v", got)
	}
	result, file = run(t, &world{r: rand.New(rand.NewPCG(3, 3)), bad: [2]float64{0.01, 0.03}})
	if result.Outcome != rollout.Done {
		t.Fatal(result.Outcome, result.Why)
	}
	if got := replay(t, file, "errors < 0.1%"); got.Ended != rollout.FailedGate {
		t.Errorf("a stricter gate: %q %s", got.Ended, got.Open)
	}
	if got := replay(t, file, "errors < 40%", `promql "queue" < 1`); got.Ended != rollout.FailedGate {
		t.Errorf("another limit on the recorded answers: %q %s", got.Ended, got.Open)
	}
	if got := replay(t, file, "ttft p95 < 1s"); got.Ended != rollout.FailedGate {
		t.Errorf("another limit on the recorded buckets: %q %s", got.Ended, got.Open)
	}
	r, err := record.Read(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := record.Replay(r, []string{"errors < 40%", `promql "other" < 1`}); err == nil || !strings.Contains(err.Error(), "nothing of this query was recorded") {
		t.Errorf("a query that was not recorded: %v", err)
	}
	if _, err := record.Replay(r, []string{"tpot p95 < 1s"}); err == nil || !strings.Contains(err.Error(), "nothing of tpot was recorded") {
		t.Errorf("a metric that was not recorded: %v", err)
	}
}

// TestAnybodyCanWriteARecord writes the smallest there is: a header and windows.
func TestAnybodyCanWriteARecord(t *testing.T) {
	t.Parallel()
	for bad, want := range map[int]rollout.Outcome{0: rollout.Done, 9: rollout.FailedGate} {
		var b strings.Builder
		b.WriteString(`{"canaryRecord":1,"started":"2026-01-01T00:00:00Z","edges":[null],"plan":{"target":"httproute/chat","namespace":"default",` +
			`"stable":"v1","canary":"v2","steps":[50],"gates":["errors < 1%"],"bake":20000000000,"settle":0,"scrapeInterval":2000000000,"minRequests":100,"alpha":0.01}}` + "\n")
		for i := range 40 {
			at := time.Date(2026, 1, 1, 0, 0, 2*i, 0, time.UTC).Format(time.RFC3339)
			const arm = `{"started":30,"finished":30,"progress":30,"running":1,"ready":2,"restarts":0,"rows":[[%d,%d]]}`
			fmt.Fprintf(&b, `{"at":%q,"window":{"stable":`+arm+`,"canary":`+arm+`}}`+"\n", at, 30, 0, 30-bad, bad)
		}
		if got := replay(t, b.String()); got.Ended != want {
			t.Errorf("%d bad in a window: ended as %q (%s)", bad, got.Ended, got.Open)
		}
	}
}
