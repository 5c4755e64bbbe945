package rollout

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// RecordFormat is the journal format this build writes. Format 1 lacked From,
// format 2 knew one target only; both are read still, see Upgrade.
const RecordFormat = 3

// maxDecisions and maxSummaries bound what a record remembers.
const (
	maxDecisions = 50
	maxSummaries = 10
)

// Goal is where the targets should stand: a canary share in percent, or
// Baseline.
type Goal int

// Baseline is the goal of a rollback: exactly what was found at the start.
const Baseline Goal = -1

// Anywhere is never a goal. As the goal before, it says that a target may move
// from whatever share it is found at: the user chose --on-drift=reassert.
const Anywhere Goal = -2

func (g Goal) String() string {
	switch g {
	case Baseline:
		return "baseline"
	case Anywhere:
		return "anywhere"
	}
	return strconv.Itoa(int(g)) + "%"
}

// Phase is where a rollout is. See Next for which may follow which.
type Phase string

// The phases of a rollout.
const (
	Ready       Phase = "Ready"       // seized, nothing moved
	Raising     Phase = "Raising"     // goal recorded, target being moved
	Settling    Phase = "Settling"    // moved and accepted, samples discarded
	Baking      Phase = "Baking"      // gates look at every scrape
	RollingBack Phase = "RollingBack" // baseline recorded as the goal; never rises again
	Promoted    Phase = "Promoted"    // the last step passed
	RolledBack  Phase = "RolledBack"  // the baseline was read back
)

// Waiting: the step passed, and a person must approve it.
const Waiting Phase = "Waiting"

// Watched says that the arms are looked at in this phase.
func (p Phase) Watched() bool { return p == Settling || p == Baking || p == Waiting }

// Finished says that nothing but the stamp is left to take care of.
func (p Phase) Finished() bool { return p == Promoted || p == RolledBack }

// Cause says why a rollout goes back.
type Cause string

// The causes of a rollback.
const (
	ByGate      Cause = "gate"
	ByRequest   Cause = "request"
	ByInterrupt Cause = "interrupt"
)

// Record is what the journal keeps. Ceiling is the highest share any passed
// gate has approved in this run, in percent; it only rises. Goal is where the
// target should be now; it may fall.
type Record struct {
	Format         int               `json:"format"`
	Run            string            `json:"run"`
	Epoch          int64             `json:"epoch"`
	Write          int64             `json:"write"`
	Holder         string            `json:"holder"`
	Plan           Plan              `json:"plan"`
	PlanDigest     string            `json:"planDigest"`
	Baseline       json.RawMessage   `json:"baseline"`       // of Plan.Target
	Also           []json.RawMessage `json:"also,omitempty"` // baselines of Plan.Also, in its order
	BaselineDigest string            `json:"baselineDigest"`
	Phase          Phase             `json:"phase"`
	Step           int               `json:"step"` // index into Plan.Steps; -1 while the canary is being listed
	Ceiling        int               `json:"ceiling"`
	Goal           Goal              `json:"goal"`
	From           Goal              `json:"from"` // where the target stood before the present goal
	Cause          Cause             `json:"cause,omitempty"`
	Reason         string            `json:"reason,omitempty"`
	Paused         bool              `json:"paused,omitempty"`
	Approved       int               `json:"approved,omitempty"` // how many steps people have approved
	Obeyed         int64             `json:"obeyed,omitempty"`   // the last request carried out
	StableReady    int               `json:"stableReady,omitempty"`
	StableRemoved  bool              `json:"stableRemoved,omitempty"` // by finish: there is no way back
	Source         string            `json:"source,omitempty"`        // whose metrics the gates are read from, for people
	Loaded         *Loaded           `json:"loaded,omitempty"`        // what the run loaded for the canary; nil for nothing
	Gates          json.RawMessage   `json:"gates,omitempty"`         // the harm tests' state, see gate.Board
	Warnings       []string          `json:"warnings,omitempty"`      // of the present step, as last saved: see StepResult
	Steps          []StepResult      `json:"steps,omitempty"`
	Decisions      []Decision        `json:"decisions,omitempty"`
	Previous       []Summary         `json:"previous,omitempty"`
	Started        time.Time         `json:"started"`
	Updated        time.Time         `json:"updated"`
	Decided        time.Time         `json:"decided,omitzero"`
	Restored       time.Time         `json:"restored,omitzero"`
}

// Mark is what a journal must know of a record: which run's it is, which of its
// processes wrote it, and which request was obeyed last.
type Mark struct {
	Run                  string
	Epoch, Write, Obeyed int64
	Holder               string
}

// Mark identifies this state of the record.
func (r Record) Mark() Mark {
	return Mark{Run: r.Run, Epoch: r.Epoch, Write: r.Write, Obeyed: r.Obeyed, Holder: r.Holder}
}

// StepResult is one row of a run's table.
type StepResult struct {
	// Asked is the share in percent that was written, Seen the share of the
	// requests started during the step that the canary got.
	Asked int     `json:"asked"`
	Seen  float64 `json:"seen"`
	// CanaryStarted, StableStarted and Requests (finished on the canary) count
	// since the step was settled.
	CanaryStarted uint64 `json:"canaryStarted"`
	StableStarted uint64 `json:"stableStarted"`
	Requests      uint64 `json:"requests"`
	// CanaryOverflows and StableOverflows are the errors of a circuit breaker of
	// the gateway, which count as errors of the arm and are no model's.
	CanaryOverflows uint64        `json:"canaryOverflows,omitempty"`
	StableOverflows uint64        `json:"stableOverflows,omitempty"`
	Gates           []GateResult  `json:"gates,omitempty"`
	Verdict         string        `json:"verdict,omitempty"`
	Warnings        []string      `json:"warnings,omitempty"` // why the arms may not be comparable, as last seen
	Took            time.Duration `json:"took"`
}

// Loaded is the LoRA adapter that a run had pods load. It is recorded before a
// pod is asked, so a pod that is listed may lack it; one that is not had it
// already, and keeps it when the run goes back.
type Loaded struct {
	Name string `json:"name"`
	// Port is where the model servers answer.
	Port int32       `json:"port"`
	Pods []LoadedPod `json:"pods"`
}

// LoadedPod names one pod; one of another UID is another pod.
type LoadedPod struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// With is what is loaded once pods are asked for it, too.
func (l Loaded) With(pods ...LoadedPod) *Loaded {
	known := append([]LoadedPod(nil), l.Pods...)
	for _, pod := range pods {
		if !slices.Contains(known, pod) {
			known = append(known, pod)
		}
	}
	l.Pods = known
	return &l
}

// Unwanted says that the run is over and went back, while pods may still have
// what it loaded.
func (r Record) Unwanted() bool {
	return r.Phase == RolledBack && r.Loaded != nil && len(r.Loaded.Pods) > 0
}

// Decision is one line of the record's history.
type Decision struct {
	At    time.Time `json:"at"`
	Phase Phase     `json:"phase"`
	Goal  Goal      `json:"goal"`
	Why   string    `json:"why"`
}

// Summary is what remains of an earlier run of the same target.
type Summary struct {
	Run      string    `json:"run"`
	Canary   string    `json:"canary"`
	Phase    Phase     `json:"phase"`
	Reason   string    `json:"reason,omitempty"`
	Finished time.Time `json:"finished"`
}

// Stamp is the value of the fence annotation for this run and epoch. Where
// several targets carry it, it also names the one the journal belongs to.
func (r Record) Stamp() string {
	stamp := map[string]any{"run": r.Run, "epoch": r.Epoch, "baseline": r.BaselineDigest}
	if len(r.Plan.Also) > 0 {
		stamp["target"] = r.Plan.Target
	}
	raw, err := json.Marshal(stamp)
	if err != nil {
		return r.Run
	}
	return string(raw)
}

// Upgrade brings an older record to the present format. Format 1 did not say
// where the target stood before its goal, because steps were never skipped then.
func (r Record) Upgrade() Record {
	old := r.Format
	r.Format = RecordFormat
	if old != 1 {
		return r
	}
	r.From = Baseline
	switch {
	case r.Step > 0 && r.Step < len(r.Plan.Steps):
		r.From = Goal(r.Plan.Steps[r.Step-1])
	case r.Step == 0 && r.Plan.AddBackend:
		r.From = 0
	}
	return r
}

// decide appends a line to the history and stamps the time.
func (r Record) decide(now time.Time, why string) Record {
	r.Updated = now
	lines := append(append([]Decision(nil), r.Decisions...), Decision{At: now, Phase: r.Phase, Goal: r.Goal, Why: why})
	if len(lines) > maxDecisions {
		lines = lines[len(lines)-maxDecisions:]
	}
	r.Decisions = lines
	return r
}

// Summarise folds a finished record into the list its successor carries.
func (r Record) Summarise() []Summary {
	list := append(append([]Summary(nil), r.Previous...), Summary{
		Run: r.Run, Canary: r.Plan.Canary, Phase: r.Phase, Reason: r.Reason, Finished: r.Updated,
	})
	if len(list) > maxSummaries {
		list = list[len(list)-maxSummaries:]
	}
	return list
}
