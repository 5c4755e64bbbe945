package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// bothArms is a clock and both arms: a look tells of ten requests on each, of which
// so many of the canary's failed.
type bothArms struct {
	now   time.Time
	looks int
	bad   uint64
	blind string
	after func(f *bothArms) // every look
}

func (f *bothArms) Now() time.Time                          { return f.now }
func (f *bothArms) Wait(_ context.Context, d time.Duration) { f.now = f.now.Add(d) }
func (f *bothArms) Moved()                                  {}

func (f *bothArms) Look(context.Context) rollout.Sample {
	f.looks++
	if f.after != nil {
		f.after(f)
	}
	arm := func(bad uint64) rollout.Arm {
		return rollout.Arm{Started: 10, Finished: 10, Progress: 10, Ready: 2, Values: [][]uint64{{10 - bad, bad}}}
	}
	s := rollout.Sample{Stable: arm(0), Canary: arm(f.bad)}
	if f.blind != "" {
		s.Stable, s.Canary = rollout.Arm{Blind: f.blind}, rollout.Arm{Blind: f.blind}
	}
	return s
}

func TestOneVerdictOverACanaryThatSomethingElseMoves(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		bad         uint64
		blind       string
		minRequests int
		stop        int // the look at which the process is interrupted
		verdict     gate.Verdict
		code        exit.Code
		looks       int // at most
	}{
		"no harm, and enough was seen":          {0, "", 100, 0, gate.Pass, exit.OK, 50},
		"harm ends it at once":                  {9, "", 100, 0, gate.Fail, exit.CheckFailed, 40},
		"too little was seen":                   {0, "", 10_000, 0, gate.Inconclusive, exit.Held, 60},
		"nothing could be seen":                 {0, "refused", 100, 0, gate.Blind, exit.Held, 60},
		"an interrupt leaves it undecided":      {0, "", 100, 20, gate.Inconclusive, exit.Held, 21},
		"an interrupt before both were watched": {0, "", 100, 3, gate.Inconclusive, exit.Held, 4},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			plan := rollout.Plan{
				Namespace: "default", Target: "httproute/chat", Stable: "a", Canary: "b", Steps: []int{50}, Gates: []string{"errors < 5%"},
				Calibrate: 30 * time.Second, Bake: time.Minute, ScrapeInterval: 2 * time.Second, MinRequests: tc.minRequests, Alpha: 0.01, IgnoreShare: true,
			}.Complete()
			judge, err := rollout.NewGates(plan, [][]float64{nil}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			f := &bothArms{now: time.Unix(1_700_000_000, 0), bad: tc.bad, blind: tc.blind, after: func(f *bothArms) {
				if f.looks == tc.stop {
					stop()
				}
			}}
			end := judgeOnce(ctx, plan, judge, f, f)
			if end.verdict != tc.verdict || end.why == "" || f.looks > tc.looks {
				t.Errorf("%s after %d looks: %s", end.verdict, f.looks, end.why)
			}
			var out bytes.Buffer
			o := &onceOptions{plan: plan, output: "json", streams: genericiooptions.IOStreams{Out: &out}}
			if code := exit.CodeOf(o.conclude(end)); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			var view verdictView
			if err := json.Unmarshal(out.Bytes(), &view); err != nil || view.Verdict != tc.verdict || view.ExitCode != int(tc.code) {
				t.Errorf("%v: %s", err, out.String())
			}
		})
	}
}
