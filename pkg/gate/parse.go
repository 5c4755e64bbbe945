package gate

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// SyntaxError says what is wrong with a gate text and where.
type SyntaxError struct {
	Text   string // as given
	Column int    // of the offending character, from 1, in characters
	Reason string
}

// Error shows the reason, the text, and a caret under the offending column.
func (e *SyntaxError) Error() string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, e.Text)
	return fmt.Sprintf("gate: %s\n  %s\n  %s^", e.Reason, text, strings.Repeat(" ", e.Column-1))
}

const (
	maxText  = 1000 // characters in a gate, as printed
	maxRatio = 1000 // times stable

	hintForm     = "a gate reads like: errors < 1%, ttft p95 < 800ms, tpot p95 < 1.5x stable, errors < 1.2x stable or < 0.5%"
	hintMetric   = "the metrics are errors, ttft, tpot and e2e; promql for a query"
	hintQuery    = `quote the query, with \" for a quote inside: promql "sum(rate(errors_total{pod=~\"qwen-v2.*\"}[1m]))" < 5`
	hintQuantile = "name a quantile from p50 to p99.99, for example: %s p95 < …"
	hintLatency  = "write a duration in ms or s (800ms, 1.5s), or a multiple of stable (1.5x stable)"
	hintErrors   = "write a percentage (1%), or a multiple of stable (1.2x stable or < 0.5%)"
)

// Parse reads one gate. An error is a *SyntaxError with a caret under the
// offending column, and carries a hint naming what is accepted.
//
//	gate     = metric [ quantile ] "<" ( amount | ratio "stable" [ "or" "<" amount ] )
//	         | "promql" query "<" number
//	metric   = "errors" | "ttft" | "tpot" | "e2e"
//	quantile = "p" number          // latencies only, p50 to p99.99
//	amount   = number ( "ms" | "s" )  for latencies,  number "%"  for errors
//	ratio    = number "x"          // 1x to 1000x
//	query    = a string as Go writes them, in "…" or `…`
func Parse(text string) (Expr, error) {
	p := &parser{text: text}
	if utf8.RuneCountInString(text) > maxText {
		return Expr{}, p.fail(0, hintForm, "longer than %d characters", maxText)
	}
	var e Expr
	if err := p.metric(&e); err != nil {
		return Expr{}, err
	}
	subject, bound := p.quantile, p.bound
	if e.Metric == PromQL {
		subject, bound = p.query, p.number
	}
	if err := subject(&e); err != nil {
		return Expr{}, err
	}
	if err := p.symbol("<"); err != nil {
		return Expr{}, err
	}
	if err := bound(&e); err != nil {
		return Expr{}, err
	}
	if t := p.next(); t.text != "" {
		return Expr{}, p.fail(t.at, hintForm, "unexpected %q after the gate", t.text)
	}
	if utf8.RuneCountInString(e.String()) > maxText {
		return Expr{}, p.fail(0, hintForm, "longer than %d characters when printed", maxText)
	}
	return e, nil
}

// parser walks the text; a token is a run of letters, digits, '.' and '%', or
// one other character, or "" at the end.
type parser struct {
	text string
	pos  int
}

type token struct {
	text string
	at   int // byte offset
}

func (p *parser) next() token {
	for p.pos < len(p.text) && isSpace(p.text[p.pos]) {
		p.pos++
	}
	start := p.pos
	for p.pos < len(p.text) && isWord(p.text[p.pos]) {
		p.pos++
	}
	if p.pos == start && p.pos < len(p.text) {
		_, size := utf8.DecodeRuneInString(p.text[p.pos:])
		p.pos += size
	}
	return token{p.text[start:p.pos], start}
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\r\n", c) >= 0 }

func isWord(c byte) bool {
	return c == '.' || c == '%' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (p *parser) fail(at int, help, format string, args ...any) error {
	column := utf8.RuneCountInString(p.text[:at]) + 1
	return hint.Wrap(&SyntaxError{Text: p.text, Column: column, Reason: fmt.Sprintf(format, args...)}, help)
}

func (p *parser) metric(e *Expr) error {
	t := p.next()
	switch m := Metric(t.text); m {
	case Errors, TTFT, TPOT, E2E, PromQL:
		e.Metric = m
		return nil
	case "":
		return p.fail(t.at, hintForm, "no metric")
	default:
		return p.fail(t.at, hintMetric, "unknown metric %q", t.text)
	}
}

func (p *parser) quantile(e *Expr) error {
	before := p.pos
	t := p.next()
	number, isQuantile := strings.CutPrefix(t.text, "p")
	if e.Metric == Errors {
		if isQuantile {
			return p.fail(t.at, hintErrors, "errors has no quantile")
		}
		p.pos = before
		return nil
	}
	help := fmt.Sprintf(hintQuantile, e.Metric)
	if !isQuantile {
		return p.fail(t.at, help, "%s needs a quantile", e.Metric)
	}
	q, ok := parseNumber(number, -2)
	if !ok || q < 0.5 || q > 0.9999 {
		return p.fail(t.at, help, "%q is not a quantile that a gate can use", t.text)
	}
	e.Quantile = q
	return nil
}

// query reads the quoted query of a promql gate.
func (p *parser) query(e *Expr) error {
	for p.pos < len(p.text) && isSpace(p.text[p.pos]) {
		p.pos++
	}
	quoted, err := strconv.QuotedPrefix(p.text[p.pos:])
	if err != nil || quoted[0] == '\'' {
		return p.fail(p.pos, hintQuery, "a query in quotes expected")
	}
	if e.Query, err = strconv.Unquote(quoted); err != nil || strings.TrimSpace(e.Query) == "" {
		return p.fail(p.pos, hintQuery, "the query is empty")
	}
	p.pos += len(quoted)
	return nil
}

// number reads the limit of a promql gate, which has no unit.
func (p *parser) number(e *Expr) error {
	const help = "write a plain number, in the unit of the query's answer"
	t := p.next()
	if t.text == "" {
		return p.fail(t.at, help, "a limit expected, the text ends")
	}
	v, ok := parseNumber(t.text, 0)
	if !ok {
		return p.fail(t.at, help, "%q is not a number of at most %d digits", t.text, maxDigits)
	}
	e.Limit = v
	return nil
}

func (p *parser) symbol(want string) error {
	t := p.next()
	switch t.text {
	case want:
		return nil
	case "":
		return p.fail(t.at, hintForm, "%q expected, the text ends", want)
	default:
		return p.fail(t.at, hintForm, "%q expected, not %q", want, t.text)
	}
}

func (p *parser) bound(e *Expr) error {
	before := p.pos
	t := p.next()
	multiple, relative := strings.CutSuffix(t.text, "x")
	if !relative {
		p.pos = before
		return p.amount(e, &e.Limit)
	}
	ratio, ok := parseNumber(multiple, 0)
	if !ok || ratio < 1 || ratio > maxRatio {
		return p.fail(t.at, "a canary exactly like stable must pass: write 1x or more, for example 1.5x stable",
			"%q is not a multiple from 1x to %dx", t.text, maxRatio)
	}
	e.Ratio = ratio
	if err := p.symbol("stable"); err != nil {
		return err
	}
	before = p.pos
	if p.next().text != "or" {
		p.pos = before // the end, or a leftover that Parse names
		return nil
	}
	if err := p.symbol("<"); err != nil {
		return err
	}
	return p.amount(e, &e.Floor)
}

// amount reads a limit in the metric's unit into v.
func (p *parser) amount(e *Expr, v *float64) error {
	units, help := map[string]int{"ms": -3, "s": 0}, hintLatency
	if e.Metric == Errors {
		units, help = map[string]int{"%": -2}, hintErrors
	}
	t := p.next()
	if t.text == "" {
		return p.fail(t.at, help, "a limit expected, the text ends")
	}
	digits := len(t.text) - len(strings.TrimLeft(t.text, "0123456789."))
	number, unit := t.text[:digits], t.text[digits:]
	if number == "" {
		return p.fail(t.at, help, "a limit expected, not %q", t.text)
	}
	exponent, known := units[unit]
	if !known {
		reason := fmt.Sprintf("%s cannot be limited in %q", e.Metric, unit)
		if unit == "" {
			reason = fmt.Sprintf("%s needs a unit", number)
		}
		return p.fail(t.at+digits, help, "%s", reason)
	}
	value, ok := parseNumber(number, exponent)
	if !ok {
		return p.fail(t.at, help, "%q is not a number of at most %d digits", number, maxDigits)
	}
	if value <= 0 || e.Metric == Errors && value >= 1 {
		return p.fail(t.at, help, "no requests can be measured against a limit of %s", t.text)
	}
	*v = value
	return nil
}

// parseNumber reads digits with at most one point, times 10^exponent, rounded
// once, so that 800ms is exactly the float 0.8.
func parseNumber(text string, exponent int) (float64, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	digits := whole + fraction
	if whole == "" || len(digits) > maxDigits || strings.Trim(digits, "0123456789") != "" || strings.HasSuffix(text, ".") {
		return 0, false
	}
	v, err := strconv.ParseFloat(text+"e"+strconv.Itoa(exponent), 64)
	return v, err == nil
}
