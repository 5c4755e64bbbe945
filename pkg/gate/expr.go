package gate

import (
	"math"
	"strconv"
)

// Metric is what a gate limits.
type Metric string

// The metrics a gate can name. The three latencies are in seconds and always
// carry a quantile; Errors is the fraction of requests that ended badly.
const (
	Errors Metric = "errors" // 5xx, resets, timeouts, breaker overflow
	TTFT   Metric = "ttft"   // time to first token
	TPOT   Metric = "tpot"   // time per output token
	E2E    Metric = "e2e"    // request duration
	PromQL Metric = "promql" // the value of a query, without an error bound: see Streak
)

// Expr is one gate as the user wrote it. The zero value is no gate; Parse makes
// one. Expr is comparable: two texts that mean the same parse to equal values.
type Expr struct {
	Metric   Metric
	Quantile float64 // 0.95 for p95; 0 for errors
	Limit    float64 // seconds, or a fraction for errors; 0 when relative to stable
	Ratio    float64 // 1.5 for "1.5x stable"; 0 for an absolute limit
	Floor    float64 // "or < 0.5%": at or below it the canary is well whatever stable does; 0 for none
	Query    string  // what a promql gate asks; its Limit has the unit of the answer
}

// Bounded reports whether the gate has an error bound. One without rolls back
// by the rule of Streak, and passes no step alone.
func (e Expr) Bounded() bool { return e.Metric != PromQL }

// Split parts gates into those with an error bound, which are counted, and
// those without, which are asked; each in the order given.
func Split(exprs []Expr) (bounded, queries []Expr) {
	for _, e := range exprs {
		if e.Bounded() {
			bounded = append(bounded, e)
		} else {
			queries = append(queries, e)
		}
	}
	return bounded, queries
}

// Comparison reports whether the gate measures the canary against stable, so
// that it needs stable's counts as well.
func (e Expr) Comparison() bool { return e.Ratio > 0 }

// P0 is the largest fraction of bad requests an absolute gate allows: 1 − Q for
// a latency quantile Q, the limit itself for errors. It is 0 for a comparison
// of errors, whose limit is stable's own rate, and for promql, which counts no
// requests.
func (e Expr) P0() float64 {
	switch e.Metric {
	case Errors:
		return e.Limit
	case PromQL:
		return 0
	}
	return round(1 - e.Quantile)
}

// String prints the canonical text, which Parse reads back to the same Expr.
func (e Expr) String() string {
	if e.Metric == "" {
		return ""
	}
	text := string(e.Metric)
	if e.Metric == PromQL {
		text += " " + strconv.Quote(e.Query)
	}
	if e.Quantile > 0 {
		text += " p" + decimal(e.Quantile*100)
	}
	text += " < "
	if !e.Comparison() {
		return text + e.Amount(e.Limit)
	}
	text += decimal(e.Ratio) + "x stable"
	if e.Floor > 0 {
		text += " or < " + e.Amount(e.Floor)
	}
	return text
}

// Amount prints v in the gate's own unit: a percentage for errors, a duration
// in ms or s for latencies, a plain number for promql.
func (e Expr) Amount(v float64) string {
	switch {
	case e.Metric == PromQL:
		return decimal(v)
	case e.Metric == Errors:
		return decimal(v*100) + "%"
	case v < 1:
		return decimal(v*1000) + "ms"
	default:
		return decimal(v) + "s"
	}
}

// MarshalText writes the canonical text, so that journals and plans hold gates
// as the user knows them.
func (e Expr) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is Parse.
func (e *Expr) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*e = parsed
	return nil
}

// maxDigits bounds the digits of a number in a gate. Twelve digits survive any
// change of unit, so canonical texts read back exactly.
const maxDigits = 9

// round drops the rounding noise beyond the digits a gate can have.
func round(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', maxDigits+2, 64), 64)
	if err != nil {
		return math.NaN()
	}
	return r
}

// decimal prints v without exponent and without rounding noise.
func decimal(v float64) string { return strconv.FormatFloat(round(v), 'f', -1, 64) }
