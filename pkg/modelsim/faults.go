package modelsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const maxSlowFactor = 1000

// Faults is what is wrong with a model server. The zero value is healthy.
// It travels as JSON: in the annotation kubectl-infer.github.io/faults, and to
// a running simulator at /sandbox/faults.
type Faults struct {
	// SlowFactor multiplies every latency; 0 and 1 mean full speed.
	SlowFactor float64 `json:"slowFactor,omitempty"`
	// ErrorRate is the probability that a request is answered 500.
	ErrorRate float64 `json:"errorRate,omitempty"`
	// Hang accepts requests and answers none; running ones stop progressing.
	Hang bool `json:"hang,omitempty"`
	// Dead is carried out by the pod runner, which keeps the process down; the
	// simulator only reports it.
	Dead bool `json:"dead,omitempty"`

	// Share is the part of requests that the faults above touch, chosen by the
	// server's seed; 0 and 1 mean all of them.
	Share float64 `json:"share,omitempty"`
	// Model narrows the faults above to requests for this target model: a
	// served name or a LoRA adapter; "" means every model.
	Model string `json:"model,omitempty"`
}

// Validate reports the first value that is out of range: slowFactor is 0 or
// 1–1000, errorRate and share are 0–1, and share and model need something to
// narrow that is not the whole process.
func (f Faults) Validate() error {
	switch {
	case f.SlowFactor != 0 && !(f.SlowFactor >= 1 && f.SlowFactor <= maxSlowFactor):
		return fmt.Errorf("faults: slowFactor %v is not between 1 and %d", f.SlowFactor, maxSlowFactor)
	case !(f.ErrorRate >= 0 && f.ErrorRate <= 1):
		return fmt.Errorf("faults: errorRate %v is not between 0 and 1", f.ErrorRate)
	case !(f.Share >= 0 && f.Share <= 1):
		return fmt.Errorf("faults: share %v is not between 0 and 1", f.Share)
	case f.narrow() && f.Dead:
		return errors.New("faults: dead takes the whole process; share and model do not go with it")
	case f.narrow() && f.slow() == 1 && f.ErrorRate == 0 && !f.Hang:
		return errors.New("faults: share and model say who is hit; name slowFactor, errorRate or hang as well")
	}
	return nil
}

// narrow tells faults of some requests from faults of the whole server.
func (f Faults) narrow() bool { return f.Share > 0 && f.Share < 1 || f.Model != "" }

// touch tells whether request n for a target model is among those hit. It
// depends on nothing else, so slow and failing requests are the same ones.
func (f Faults) touch(seed, n uint64, model string) bool {
	if f.Model != "" && f.Model != model {
		return false
	}
	return f.Share == 0 || draw(seed, drawShare, n).Float64() < f.Share
}

// fail tells whether request n for a target model is answered 500; one that
// hangs is not answered at all.
func (f Faults) fail(seed, n uint64, model string) bool {
	return f.ErrorRate > 0 && f.touch(seed, n, model) && !f.Hang &&
		draw(seed, drawError, n).Float64() < f.ErrorRate
}

// slow is the factor in force, at least 1.
func (f Faults) slow() float64 { return max(f.SlowFactor, 1) }

// readFaults decodes and validates one JSON document; unknown fields are
// errors, so that a misspelt fault does not pass for a healthy server.
func readFaults(r io.Reader) (Faults, error) {
	var f Faults
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return Faults{}, fmt.Errorf("read faults: %w", err)
	}
	return f, f.Validate()
}
