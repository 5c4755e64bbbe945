package canary

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
)

// defaultWatch is how long canary plan watches stable for its forecast.
const defaultWatch = 20 * time.Second

// forecast watches stable for a while and says what every step would show.
func (o *runOptions) forecast(ctx context.Context, p prepared) ([]rollout.GateForecast, error) {
	judge, plan := p.judge, p.record.Plan
	fmt.Fprintf(o.streams.ErrOut, "watching %s for %v; --watch 0 leaves the forecast out\n", plan.Stable, o.watch)
	p.evidence.Look(ctx) // what was counted before is nobody's
	began := time.Now()
	for time.Since(began) < o.watch {
		drive.Clock{}.Wait(ctx, plan.ScrapeInterval)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		sample := p.evidence.Look(ctx)
		if sample.Stable.Blind != "" {
			return nil, fmt.Errorf("watch stable: %s", sample.Stable.Blind)
		}
		judge, _ = judge.Survey(sample)
	}
	gates, ok := judge.(rollout.Gates)
	if !ok {
		return nil, nil
	}
	return gates.Forecast(time.Since(began)), nil
}

// printForecast is the table under a plan.
func printForecast(out io.Writer, plan rollout.Plan, list []rollout.GateForecast, watched time.Duration) {
	fmt.Fprintf(out, "\nforecast from %v of stable's traffic: canary requests, and time, until half of the canaries\nwith so many times the bad requests a gate allows are rolled back\n", watched)
	head := []string{"STEP", "GATE", "BAD IS", "ALLOWED", fmt.Sprintf("%d REQUESTS", plan.MinRequests)}
	for _, times := range rollout.ForecastTimes() {
		head = append(head, fmt.Sprintf("%gx", times))
	}
	table, notes := [][]string{head}, []string{}
	last := 0
	for _, f := range list {
		step := ""
		if f.Share != last {
			step, last = fmt.Sprintf("%d%%", f.Share), f.Share
		}
		row := []string{step, f.Bound.Expr.String()}
		if f.Lacking != "" {
			notes = append(notes, fmt.Sprintf("%d%%: %s in %v: watch it longer with --watch", f.Share, f.Lacking, watched))
			table = append(table, append(row, "not known", "", "", "", "", ""))
			continue
		}
		row = append(row, badIs(f.Bound), fmt.Sprintf("%.3g%%", 100*f.Allowed), span(f.Wait(float64(plan.MinRequests))))
		for _, n := range f.Requests {
			row = append(row, seenAfter(f, n, plan.StepDeadline))
		}
		table = append(table, row)
		switch wait := f.Wait(float64(plan.MinRequests)); {
		case wait > plan.StepDeadline:
			notes = append(notes, fmt.Sprintf("%d%% cannot be judged: %d canary requests for gate %q take %s, the step's deadline is %s",
				f.Share, plan.MinRequests, f.Bound.Expr, span(wait), span(plan.StepDeadline)))
		case f.Wait(f.Requests[len(f.Requests)-1]) > plan.StepDeadline:
			notes = append(notes, fmt.Sprintf("%d%%: gate %q would hardly see even three times what it allows before the step's deadline of %s",
				f.Share, f.Bound.Expr, span(plan.StepDeadline)))
		}
	}
	drive.Table(out, table)
	for _, note := range notes {
		fmt.Fprintf(out, "note: %s\n", note)
	}
}

// badIs says which requests a gate counts as bad.
func badIs(b gate.Bound) string {
	if b.Expr.Metric == gate.Errors {
		return "failed"
	}
	text := "above " + b.Expr.Amount(b.HarmEdge)
	if b.Stable > 0 {
		text += fmt.Sprintf(", %.2fx stable's p%g", b.HarmEdge/b.Stable, 100*b.Expr.Quantile)
	}
	return text
}

func seenAfter(f rollout.GateForecast, n float64, deadline time.Duration) string {
	wait := f.Wait(n)
	if math.IsInf(n, 1) || wait > deadline {
		return "never"
	}
	return fmt.Sprintf("%.0f (%s)", n, span(wait))
}

// span is a duration for people, to two units at most.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", math.Ceil(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%.0fm", math.Ceil(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1fh", d.Hours())
	default:
		return fmt.Sprintf("%.0fd", d.Hours()/24)
	}
}
