package verify

import (
	"fmt"
	"math"
	"slices"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

const (
	// limit is what the share test's e-value must reach: a split that is right is
	// called wrong with probability at most 1/limit.
	limit = 100
	// floor is the least number of requests that a split is judged by.
	floor = 50
	// strays is the part of requests that may get lost or be answered elsewhere,
	// as when a pod goes away.
	strays = 0.01
	// misdirected is how far the share that pickers were asked for and the one that
	// pods served may lie apart: other requests, and failures, come to pods too.
	misdirected = 0.1
	// z is the 97.5 % quantile of the normal distribution: two-sided 95 %.
	z = 1.959963984540054
)

// armReport is one arm: what was asked, and what was seen.
type armReport struct {
	Name    string  `json:"name"`
	Pool    string  `json:"pool"` // NAMESPACE/NAME
	Asked   float64 `json:"asked"`
	Seen    float64 `json:"seen"`
	Low     float64 `json:"low"` // of the 95 % interval
	High    float64 `json:"high"`
	Started uint64  `json:"started"`
	Ready   int     `json:"readyEndpoints"`
	// Overflows are the requests among them that a circuit breaker of the gateway
	// kept back.
	Overflows uint64 `json:"breakerOverflows"`
	// Served are the requests that the pool's model servers answered in the same
	// time, by their own counters; nil when these were not read.
	Served *uint64 `json:"served,omitempty"`
}

// answers sums up what came back of the requests sent.
type answers struct {
	Sent    int            `json:"sent"`
	OK      int            `json:"ok"` // 2xx
	Codes   map[string]int `json:"codes,omitempty"`
	Models  map[string]int `json:"models,omitempty"` // as the answers name them
	Problem string         `json:"problem,omitempty"`
}

// splitReport is what `verify split -o json` prints. Shares are from 0 to 1.
type splitReport struct {
	APIVersion string                  `json:"apiVersion"`
	Kind       string                  `json:"kind"`
	Target     string                  `json:"target"`
	Namespace  string                  `json:"namespace"`
	Rule       string                  `json:"rule,omitempty"`
	Gateway    string                  `json:"gateway,omitempty"`
	Models     []string                `json:"models,omitempty"` // asked for, in turn
	Source     string                  `json:"source"`
	Passive    bool                    `json:"passive"`
	Answers    answers                 `json:"answers"`
	Arms       []armReport             `json:"arms"`
	Counted    uint64                  `json:"counted"`
	Others     uint64                  `json:"others"`  // counted and not sent by us
	Missing    uint64                  `json:"missing"` // answered and not counted on any arm
	Astray     uint64                  `json:"astray"`  // answered by another endpoint than picked
	EValue     float64                 `json:"eValue"`
	Limit      float64                 `json:"limit"`
	Needed     int                     `json:"needed"`
	Verdict    gate.Verdict            `json:"verdict"`
	Reasons    []string                `json:"reasons"`
	Next       string                  `json:"next,omitempty"`
	Copied     bool                    `json:"copied,omitempty"` // a RequestMirror filter sends pods copies, so what they served was not read
	byModel    bool                    // arms are target models, which answers name
	enough     func(*splitReport) bool // no more counts are waited for
}

// judge fills in shares and verdict from what was counted.
func (r *splitReport) judge() error {
	r.Counted, r.Limit = 0, limit
	for _, arm := range r.Arms {
		r.Counted += arm.Started
	}
	var values []float64
	for i := range r.Arms {
		arm := &r.Arms[i]
		arm.Low, arm.High = wilson(arm.Started, r.Counted)
		if r.Counted > 0 {
			arm.Seen = float64(arm.Started) / float64(r.Counted)
		}
		share, err := gate.NewShare(arm.Asked, 1)
		if err != nil {
			return err
		}
		share.Update(arm.Started, r.Counted-arm.Started)
		values = append(values, math.Min(share.Value(), 1e12)) // JSON knows no infinity
	}
	for _, v := range values {
		r.EValue += v / float64(len(values)) // a mean of e-values is one
	}
	if r.Passive {
		r.Others = 0
	} else {
		r.Others = r.Counted - min(r.Counted, uint64(r.Answers.Sent))
		r.Missing = uint64(r.Answers.OK) - min(r.Counted, uint64(r.Answers.OK))
	}
	r.Needed = needed(r.Arms)
	r.decide()
	return nil
}

// decide names everything that is wrong; undecided is only what is not wrong.
func (r *splitReport) decide() {
	wrong := func(format string, args ...any) { r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...)) }
	if failed := r.Answers.Sent - r.Answers.OK; failed > 0 {
		wrong("%d of %d requests were not answered with 2xx%s", failed, r.Answers.Sent, because(r.Answers.Problem))
	}
	for _, arm := range r.Arms {
		if arm.Overflows > 0 && !r.Passive {
			wrong("%d requests for %s met the gateway's circuit breaker: errors of a limit, not of a model", arm.Overflows, arm.Name)
		}
	}
	if float64(r.Missing) > strays*float64(r.Answers.OK) {
		wrong("%d of %d answers came from none of these arms: another rule or route takes the requests, or no picker is asked", r.Missing, r.Answers.OK)
	}
	if r.EValue >= limit {
		wrong("the seen share contradicts the asked one (e-value %s, limit %d)", number(r.EValue), limit)
	}
	for _, arm := range r.Arms {
		if arm.Asked == 0 && arm.Started > r.Others && !r.Passive {
			wrong("%s is asked for no request and got %d", arm.Name, arm.Started)
		}
	}
	if float64(r.Astray) > strays*float64(r.Counted) {
		wrong("%d of %d requests were answered by another endpoint than the picker chose", r.Astray, r.Counted)
	}
	r.wrongPickers(wrong)
	r.unknownModels(wrong)
	switch {
	case len(r.Reasons) > 0:
		r.Verdict = gate.Fail
	case r.known() < uint64(r.Needed):
		r.Verdict = gate.Inconclusive
		wrong("%d requests are too few: a split that ignores the smallest share shows after %d", r.known(), r.Needed)
	default:
		r.Verdict = gate.Pass
	}
	r.Next = r.next()
}

// wrongPickers finds arms whose pickers were asked for another part of the requests
// than their pods served: a gateway that asks one picker for a whole rule.
func (r *splitReport) wrongPickers(wrong func(string, ...any)) {
	served := uint64(0)
	for _, arm := range r.Arms {
		if arm.Served == nil {
			return
		}
		served += *arm.Served
	}
	if served < floor || r.Counted < floor {
		return
	}
	for _, arm := range r.Arms {
		share := float64(*arm.Served) / float64(served)
		if math.Abs(share-arm.Seen) > misdirected {
			wrong("%s was picked for %s of the requests, and its pods served %s: the wrong picker is asked", arm.Name, percent(arm.Seen), percent(share))
		}
	}
}

// known is how many of the requests counted are known to be of this split: what
// others sent may have come by another route.
func (r *splitReport) known() uint64 {
	if r.Passive {
		return r.Counted
	}
	return min(r.Counted, uint64(r.Answers.Sent))
}

// unknownModels finds answers of a model that is no target. Only a split of
// target models says which model answers.
func (r *splitReport) unknownModels(wrong func(string, ...any)) {
	if !r.byModel {
		return
	}
	for _, model := range sortedKeys(r.Answers.Models) {
		known := slices.ContainsFunc(r.Arms, func(a armReport) bool { return a.Name == model })
		if !known {
			wrong("%d answers are of model %s, which is no target", r.Answers.Models[model], model)
		}
	}
}

func (r *splitReport) next() string {
	switch {
	case r.Verdict == gate.Pass:
		return ""
	case r.Verdict == gate.Inconclusive && r.Passive:
		return "watch longer (--duration), or let requests be sent: leave out --passive"
	case r.Verdict == gate.Inconclusive:
		return fmt.Sprintf("--requests %d", r.Needed)
	case r.Answers.OK < r.Answers.Sent && r.Answers.Codes["404"] > 0:
		return "404 is no route, or a model server without the model: see kubectl infer verify route, and --model"
	case r.Answers.OK < r.Answers.Sent && r.byModel:
		return "is every target loaded? GET /v1/models of a model server lists them; kubectl get pods -n " + r.Namespace
	case r.Answers.OK < r.Answers.Sent:
		return "kubectl get pods -n " + r.Namespace
	case float64(r.Others) > 0.1*float64(r.Counted):
		return fmt.Sprintf("%d of the %d requests counted are not ours, and may have come by other routes: verify when it is quiet, or send more (--requests)", r.Others, r.Counted)
	default:
		return "kubectl get httproutes -n " + r.Namespace + " -o wide   # does a more specific match take the requests? Does the gateway honour weights?"
	}
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return " (" + problem + ")"
}

// wilson is the 95 % score interval of a share of x in n: E. B. Wilson, Probable
// inference, the law of succession, and statistical inference, JASA 22 (1927)
// 209–212. Without requests it is everything.
func wilson(x, n uint64) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	k, m := float64(x), float64(n)
	centre := (k + z*z/2) / (m + z*z)
	half := z / (m + z*z) * math.Sqrt(k*(m-k)/m+z*z/4)
	return math.Max(0, centre-half), math.Min(1, centre+half)
}

// needed is after how many requests a split that gives nothing to one of the
// arms is sure to contradict its share, by the test that judges.
func needed(arms []armReport) int {
	most := floor
	for _, arm := range arms {
		if arm.Asked > 0 {
			most = max(most, silence(arm.Asked, float64(limit*len(arms))))
		}
	}
	return most
}

// silence is how many requests, none of them on an arm asked for the share,
// bring the test to the limit.
func silence(asked, limit float64) int {
	const never = 1 << 20
	crossed := func(n int) bool {
		share, err := gate.NewShare(asked, 1)
		if err != nil {
			return true
		}
		share.Update(0, uint64(n))
		return share.Value() >= limit
	}
	low, high := 0, 1
	for high < never && !crossed(high) {
		low, high = high, 2*high
	}
	for high-low > 1 {
		if mid := (low + high) / 2; crossed(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}
