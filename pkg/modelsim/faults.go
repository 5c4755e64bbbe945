package modelsim

import (
	"encoding/json"
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
}

// Validate reports the first value that is out of range: slowFactor is 0 or
// 1–1000, errorRate 0–1.
func (f Faults) Validate() error {
	switch {
	case f.SlowFactor != 0 && !(f.SlowFactor >= 1 && f.SlowFactor <= maxSlowFactor):
		return fmt.Errorf("faults: slowFactor %v is not between 1 and %d", f.SlowFactor, maxSlowFactor)
	case !(f.ErrorRate >= 0 && f.ErrorRate <= 1):
		return fmt.Errorf("faults: errorRate %v is not between 0 and 1", f.ErrorRate)
	}
	return nil
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
