package mirror

import (
	"encoding/json"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// RecordFormat is the journal format this build writes.
const RecordFormat = 1

// maxDecisions bounds what a record remembers.
const maxDecisions = 50

// Phase is where a mirror is.
type Phase string

// The phases, in their order. Each may be followed by Removing, which is
// followed by Done.
const (
	Ready     Phase = "Ready"     // stamped, nothing copied
	Mirroring Phase = "Mirroring" // the filter is to be, or is, on the route
	Removing  Phase = "Removing"  // a verdict is recorded; the filter goes, then the Service
	Done      Phase = "Done"      // both were gone when looked at
)

// Backend is what a RequestMirror filter refers to (Gateway API v1,
// BackendObjectReference), in the route's namespace.
type Backend struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Port  int64  `json:"port"`
}

// Record is what the journal keeps.
type Record struct {
	Format         int             `json:"format"`
	Run            string          `json:"run"`
	Epoch          int64           `json:"epoch"`
	Write          int64           `json:"write"`
	Holder         string          `json:"holder"`
	Plan           Plan            `json:"plan"`
	Backend        Backend         `json:"backend"`
	Made           string          `json:"made,omitempty"` // the Service that is ours, to be removed
	Baseline       json.RawMessage `json:"baseline"`
	BaselineDigest string          `json:"baselineDigest"`
	Phase          Phase           `json:"phase"`
	Verdict        gate.Verdict    `json:"verdict,omitempty"`
	Reason         string          `json:"reason,omitempty"`
	Obeyed         int64           `json:"obeyed,omitempty"` // the last request carried out
	Source         string          `json:"source,omitempty"` // whose metrics are read, for people
	Result         Result          `json:"result"`
	Answers        *Answers        `json:"answers,omitempty"`
	Decisions      []Decision      `json:"decisions,omitempty"`
	Started        time.Time       `json:"started"`
	Updated        time.Time       `json:"updated"`
	Mirrored       time.Time       `json:"mirrored,omitzero"` // copies were accepted
	Removed        time.Time       `json:"removed,omitzero"`  // the filter was gone
}

// Result is what was counted while both sides were compared.
type Result struct {
	Primary Side          `json:"primary"`
	Shadow  Side          `json:"shadow"`
	Watched time.Duration `json:"watched"`
	// TokensPerSecond is the most that the shadow spent over ten seconds.
	TokensPerSecond float64              `json:"tokensPerSecond"`
	Gates           []rollout.GateResult `json:"gates,omitempty"`
	Warnings        []string             `json:"warnings,omitempty"`
}

// Side is one side's counts.
type Side struct {
	Started      uint64 `json:"started"`
	Finished     uint64 `json:"finished"`
	Answered     uint64 `json:"answered"` // those whose tokens are counted
	PromptTokens uint64 `json:"promptTokens"`
	AnswerTokens uint64 `json:"answerTokens"`
	Ready        int    `json:"ready"`
}

// Means are the mean tokens of a prompt and of an answer; 0 without requests.
func (s Side) Means() (prompt, answer float64) {
	if s.Answered == 0 {
		return 0, 0
	}
	return float64(s.PromptTokens) / float64(s.Answered), float64(s.AnswerTokens) / float64(s.Answered)
}

func (s Side) add(a rollout.Arm) Side {
	s.Started += a.Started
	s.Finished += a.Finished
	s.Answered += a.Answered
	s.PromptTokens += a.PromptTokens
	s.AnswerTokens += a.AnswerTokens
	s.Ready = a.Ready
	return s
}

// Decision is one line of the record's history.
type Decision struct {
	At    time.Time `json:"at"`
	Phase Phase     `json:"phase"`
	Why   string    `json:"why"`
}

// Mark identifies this state of the record, for the journal.
func (r Record) Mark() rollout.Mark {
	return rollout.Mark{Run: r.Run, Epoch: r.Epoch, Write: r.Write, Obeyed: r.Obeyed, Holder: r.Holder}
}

// Stamp is the value of the fence annotation for this run and epoch. Its kind
// tells it from a canary's.
func (r Record) Stamp() string {
	raw, err := json.Marshal(map[string]any{"run": r.Run, "epoch": r.Epoch, "baseline": r.BaselineDigest, "kind": "mirror"})
	if err != nil {
		return r.Run
	}
	return string(raw)
}

// Goal is where the route should stand.
func (r Record) Goal() rollout.Goal {
	if r.Phase == Mirroring {
		return rollout.Goal(r.Plan.Percent)
	}
	return rollout.Baseline
}

// TakeOver is the record as a process begins that ends an earlier one's mirror.
func (r Record) TakeOver(now time.Time, holder, why string) Record {
	r.Epoch++
	r.Write++
	r.Holder = holder
	if r.Phase != Removing {
		r.Verdict, r.Reason = gate.Inconclusive, why
	}
	r.Phase = Removing
	return r.decide(now, why)
}

func (r Record) decide(now time.Time, why string) Record {
	r.Updated = now
	lines := append(append([]Decision(nil), r.Decisions...), Decision{At: now, Phase: r.Phase, Why: why})
	r.Decisions = lines[max(0, len(lines)-maxDecisions):]
	return r
}
