package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

const asked = `promql "queue" < 5`

// ask walks a judge through n windows of healthy arms whose query answers so.
func (w *watcher) ask(n int, answers ...gate.Answer) {
	for range n {
		w.now = w.now.Add(2 * time.Second)
		w.judge, w.f = w.judge.Weigh(w.now, rollout.Sample{Canary: quiet(), Stable: quiet(), Answers: answers}, true)
	}
}

func TestAQueryTakesBackAndNeverPassesAlone(t *testing.T) {
	t.Parallel()
	value := func(v float64) []gate.Answer { return []gate.Answer{{Value: v}} }
	tests := map[string]struct {
		looks         int
		answers       []gate.Answer
		pass          bool
		harm, missing string
	}{
		"good answers leave the step to the gates with a bound": {8, value(1), true, "", ""},
		"and pass nothing before those have their floor":        {3, value(1), false, "", "has seen 150 of 200"},
		"three answers over the limit take the canary back":     {3, value(5), false, asked + ": 3 of the latest 3 answers", ""},
		"a step does not pass without a value":                  {8, []gate.Answer{{Missing: "empty"}}, false, "", "has no value: empty"},
		"nor where it was not asked":                            {8, nil, false, "", "was not asked"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := compared()
			p.Gates = append(p.Gates, asked)
			p.MinRequests = 200
			w := calibrated(t, p)
			w.judge = w.judge.Enter(0)
			w.ask(tt.looks, tt.answers...)
			if w.f.Pass != tt.pass || (tt.harm == "") != (w.f.Harm == "") || !strings.Contains(w.f.Harm, tt.harm) || !strings.Contains(w.f.Missing, tt.missing) {
				t.Errorf("finding %+v", w.f)
			}
		})
	}
}

func TestAQueryBeginsAnewInEveryStepAndAfterATakeover(t *testing.T) {
	t.Parallel()
	p := compared()
	p.Gates = append(p.Gates, asked)
	w := calibrated(t, p)
	w.judge = w.judge.Enter(0)
	w.ask(2, gate.Answer{Value: 9})
	state := w.judge.State()
	next := &watcher{judge: w.judge.Enter(1), now: w.now}
	again := &watcher{judge: newJudge(t, p, state), now: w.now}
	again.judge = again.judge.Enter(0)
	for name, w := range map[string]*watcher{"the next step": next, "a process that took over": again} {
		if w.ask(2, gate.Answer{Value: 9}); w.f.Harm != "" {
			t.Errorf("%s counts answers of before: %s", name, w.f.Harm)
		}
		if w.ask(1, gate.Answer{Value: 9}); w.f.Harm == "" {
			t.Errorf("%s does not count its own", name)
		}
	}
}

func TestAQueryIsMarkedWhereverItIsShown(t *testing.T) {
	t.Parallel()
	p := compared()
	p.Gates = append([]string{asked}, p.Gates...)
	w := calibrated(t, p)
	w.judge = w.judge.Enter(0)
	w.ask(3, gate.Answer{Value: 4.25})
	results := w.judge.Results()
	if len(results) != 3 {
		t.Fatalf("%d results for 3 gates", len(results))
	}
	if r := results[2]; r.Gate != asked || r.Value != "4.25" || r.Requests != 3 || !r.Unbounded {
		t.Errorf("result %+v", r)
	}
	notes := strings.Join(w.judge.(rollout.Gates).Notes(), "\n")
	if !strings.Contains(notes, asked+": no error bound") {
		t.Errorf("notes do not mark it: %s", notes)
	}
}

func TestAPlanOfQueriesAloneIsRefused(t *testing.T) {
	t.Parallel()
	p := compared()
	p.Gates = []string{asked}
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "pass no step alone") {
		t.Errorf("got %v", err)
	}
	p.Gates = append(p.Gates, "errors < 1%")
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}
