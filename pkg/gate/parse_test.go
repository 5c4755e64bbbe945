package gate_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text, canonical string
		want            gate.Expr
	}{
		"a latency in milliseconds": {
			"ttft p95 < 800ms", "ttft p95 < 800ms",
			gate.Expr{Metric: gate.TTFT, Quantile: 0.95, Limit: 0.8},
		},
		"a latency in seconds":                     {"e2e p99 < 30s", "e2e p99 < 30s", gate.Expr{Metric: gate.E2E, Quantile: 0.99, Limit: 30}},
		"a percentage is a fraction":               {"errors < 1%", "errors < 1%", gate.Expr{Metric: gate.Errors, Limit: 0.01}},
		"a small percentage has no exponent":       {"errors < 0.001%", "errors < 0.001%", gate.Expr{Metric: gate.Errors, Limit: 0.00001}},
		"a multiple of stable":                     {"tpot p95 < 1.5x stable", "tpot p95 < 1.5x stable", gate.Expr{Metric: gate.TPOT, Quantile: 0.95, Ratio: 1.5}},
		"a multiple with a floor":                  {"errors < 1.2x stable or < 0.5%", "errors < 1.2x stable or < 0.5%", gate.Expr{Metric: gate.Errors, Ratio: 1.2, Floor: 0.005}},
		"a latency multiple with a floor":          {"ttft p50 < 2x stable or < 50ms", "ttft p50 < 2x stable or < 50ms", gate.Expr{Metric: gate.TTFT, Quantile: 0.5, Ratio: 2, Floor: 0.05}},
		"spaces are free":                          {"  errors<1%  ", "errors < 1%", gate.Expr{Metric: gate.Errors, Limit: 0.01}},
		"milliseconds above one second print s":    {"e2e p99.9 < 1500ms", "e2e p99.9 < 1.5s", gate.Expr{Metric: gate.E2E, Quantile: 0.999, Limit: 1.5}},
		"seconds below one print ms":               {"ttft p95 < 0.8s", "ttft p95 < 800ms", gate.Expr{Metric: gate.TTFT, Quantile: 0.95, Limit: 0.8}},
		"a query in quotes":                        {`promql "sum(up)" < 5`, `promql "sum(up)" < 5`, gate.Expr{Metric: gate.PromQL, Query: "sum(up)", Limit: 5}},
		"quotes inside a query are escaped":        {`promql "up{pod=\"a\"}"<0.5`, `promql "up{pod=\"a\"}" < 0.5`, gate.Expr{Metric: gate.PromQL, Query: `up{pod="a"}`, Limit: 0.5}},
		"a query in backquotes prints in quotes":   {"promql `up{pod=\"a\"}` < 0", `promql "up{pod=\"a\"}" < 0`, gate.Expr{Metric: gate.PromQL, Query: `up{pod="a"}`}},
		"a query may hold what ends other gates":   {`promql "a < 3 or b" < 5`, `promql "a < 3 or b" < 5`, gate.Expr{Metric: gate.PromQL, Query: "a < 3 or b", Limit: 5}},
		"nine digits survive a change of the unit": {"tpot p95 < 12.3456789ms", "tpot p95 < 12.3456789ms", gate.Expr{Metric: gate.TPOT, Quantile: 0.95, Limit: 0.0123456789}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := gate.Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("Parse(%q) = %#v, want %#v", tt.text, got, tt.want)
			}
			if got.String() != tt.canonical {
				t.Errorf("String() = %q, want %q", got.String(), tt.canonical)
			}
			assertIdentity(t, got)
		})
	}
}

func assertIdentity(t *testing.T, e gate.Expr) {
	t.Helper()
	again, err := gate.Parse(e.String())
	if err != nil || again != e {
		t.Errorf("Parse(%q) = %#v, %v; want %#v", e.String(), again, err, e)
	}
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var read gate.Expr
	if err := json.Unmarshal(data, &read); err != nil || read != e {
		t.Errorf("JSON %s reads back as %#v, %v; want %#v", data, read, err, e)
	}
}

func TestParseErrorsPointAtTheColumn(t *testing.T) {
	t.Parallel()
	// The second line marks the column, as the error does.
	tests := map[string]struct{ marked, reason, hint string }{
		"an empty text":                       {"\n^", "no metric", "ttft p95 < 800ms"},
		"an unknown metric":                   {"tfft p95 < 1s\n^", `unknown metric "tfft"`, "errors, ttft, tpot and e2e"},
		"a query without quotes":              {"promql up < 5\n       ^", "a query in quotes expected", "quote the query"},
		"a query in single quotes":            {"promql 'u' < 5\n       ^", "a query in quotes expected", "quote the query"},
		"a query that does not end":           {"promql \"up < 5\n       ^", "a query in quotes expected", "quote the query"},
		"a query that is missing":             {"promql\n      ^", "a query in quotes expected", "quote the query"},
		"a query of nothing":                  {"promql \" \" < 5\n       ^", "the query is empty", "quote the query"},
		"a query without relation":            {"promql \"up\" 5\n            ^", `"<" expected, not "5"`, "reads like"},
		"a query without a limit":             {"promql \"up\" <\n             ^", "a limit expected, the text ends", "plain number"},
		"a query's limit with a unit":         {"promql \"up\" < 5ms\n              ^", `"5ms" is not a number`, "plain number"},
		"a query's limit beside stable":       {"promql \"up\" < 2x stable\n              ^", `"2x" is not a number`, "plain number"},
		"text after a query's limit":          {"promql \"up\" < 5 or\n                ^", `unexpected "or"`, "reads like"},
		"a query that is too long printed":    {"promql `" + strings.Repeat("\"", 600) + "` < 5\n^", "longer than 1000 characters when printed", "reads like"},
		"a latency without a quantile":        {"ttft < 800ms\n     ^", "ttft needs a quantile", "ttft p95"},
		"a latency that ends early":           {"ttft\n    ^", "ttft needs a quantile", "ttft p95"},
		"a quantile of errors":                {"errors p95 < 1%\n       ^", "errors has no quantile", "1%"},
		"a quantile below the median":         {"ttft p5 < 1s\n     ^", `"p5" is not a quantile`, "p50 to p99.99"},
		"the maximum is no quantile":          {"ttft p100 < 1s\n     ^", `"p100" is not a quantile`, "p50 to p99.99"},
		"another relation":                    {"ttft p95 > 1s\n         ^", `"<" expected, not ">"`, "reads like"},
		"or equal":                            {"ttft p95 <= 1s\n          ^", `a limit expected, not "="`, "800ms"},
		"no relation":                         {"errors\n      ^", `"<" expected, the text ends`, "reads like"},
		"no limit":                            {"errors < \n         ^", "a limit expected, the text ends", "1%"},
		"a number without unit":               {"ttft p95 < 800\n              ^", "800 needs a unit", "ms or s"},
		"an unknown unit":                     {"ttft p95 < 2min\n            ^", `ttft cannot be limited in "min"`, "ms or s"},
		"a percentage of a latency":           {"ttft p95 < 5%\n            ^", `ttft cannot be limited in "%"`, "ms or s"},
		"a duration for errors":               {"errors < 5ms\n          ^", `errors cannot be limited in "ms"`, "1%"},
		"a word instead of a limit":           {"errors < few\n         ^", `a limit expected, not "few"`, "1%"},
		"a limit of zero":                     {"errors < 0%\n         ^", "limit of 0%", "1%"},
		"a limit that everything meets":       {"errors < 100%\n         ^", "limit of 100%", "1%"},
		"two points":                          {"ttft p95 < 1.2.3s\n           ^", `"1.2.3" is not a number`, "ms or s"},
		"too many digits":                     {"ttft p95 < 1.234567890s\n           ^", "at most 9 digits", "ms or s"},
		"a multiple below one":                {"errors < 0.9x stable\n         ^", `"0.9x" is not a multiple`, "1x or more"},
		"a multiple of something else":        {"errors < 2x canary\n            ^", `"stable" expected, not "canary"`, "reads like"},
		"a multiple of nothing":               {"errors < 2x\n           ^", `"stable" expected, the text ends`, "reads like"},
		"a floor without relation":            {"errors < 2x stable or 1%\n                      ^", `"<" expected, not "1%"`, "reads like"},
		"a floor in the wrong unit":           {"errors < 2x stable or < 1s\n                         ^", `errors cannot be limited in "s"`, "1%"},
		"text after the gate":                 {"errors < 1% please\n            ^", `unexpected "please"`, "reads like"},
		"columns count characters, not bytes": {"errors < 1% ééé\n            ^", `unexpected "é"`, "reads like"},
		"control characters cannot move it":   {"errors\t< 1% x\n            ^", `unexpected "x"`, "reads like"},
		"a very long text":                    {strings.Repeat("x", 1001) + "\n^", "longer than 1000", "reads like"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, caret, _ := strings.Cut(tt.marked, "\n")
			_, err := gate.Parse(text)
			var syntax *gate.SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("Parse(%q) = %v, want a *SyntaxError", text, err)
			}
			if syntax.Column != len(caret) {
				t.Errorf("column %d, want %d:\n%v", syntax.Column, len(caret), err)
			}
			if !strings.HasSuffix(err.Error(), "\n  "+caret) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("error is not %q with its caret:\n%v", tt.reason, err)
			}
			if !strings.Contains(hint.Of(err), tt.hint) {
				t.Errorf("hint %q does not name %q", hint.Of(err), tt.hint)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"ttft p95 < 800ms", "errors < 1%", "tpot p95 < 1.5x stable", "errors < 1.2x stable or < 0.5%",
		"e2e p99 < 30s", "e2e p99.99 < 123456789s", "tpot p50<0.00000001ms", "errors < 0.0000001%",
		"errors < 99.999999%", `promql "…" < 5`, "promql `up{a=\"b\"}` < 0.5", `promql "\x00\xff" < 1`, `promql "a\"`, `promql '' < 1`, "errors < 1% é", "\xff p95", "ttft p95 < .5s", "ttft p95 < 5.s",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := gate.Parse(text)
		if err != nil {
			if hint.Of(err) == "" {
				t.Errorf("Parse(%q): no hint with %v", text, err)
			}
			return
		}
		assertIdentity(t, e)
		if p0 := e.P0(); e.Bounded() && !e.Comparison() && !(p0 > 0 && p0 < 1) {
			t.Errorf("Parse(%q) allows a fraction of %g", text, p0)
		}
	})
}
