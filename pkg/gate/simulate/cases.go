package simulate

import "time"

// Case is one row of a table: runs of one shape under one plan.
type Case struct {
	Name  string
	Shape Shape
	Plan  Plan
	Harm  Harm
	Only  int // 1-based: of the gates at their limits, this one alone; 0 is all
}

// HealthyCases are the A/A proof, a row for each shape.
func HealthyCases() []Case {
	var cases []Case
	for _, s := range Shapes() {
		plan := DefaultPlan()
		if s.AtLimit { // the fleet meets its limits while both arms share the load
			plan.Weights = []float64{0.10, 0.20, 0.35, 0.50}
		}
		cases = append(cases, Case{Name: s.Name, Shape: s, Plan: plan})
	}
	return cases
}

// PhiCases show what φ is for: the hardest healthy shapes without it.
func PhiCases() []Case {
	var cases []Case
	for _, c := range HealthyCases() {
		if c.Shape.AtLimit {
			c.Plan.Phi = PhiOne
			c.Name += ", φ = 1"
			cases = append(cases, c)
		}
	}
	return cases
}

// ttftGate is the place of the TTFT gate among those of Limits.
const ttftGate = 2

// HarmCases measure detection. The canary's p95 exceedance is twice or three
// times what the limit allows, and the fleet is exactly at the limit otherwise.
func HarmCases() []Case {
	shapes := map[string]Shape{}
	for _, s := range Shapes() {
		shapes[s.Name] = s
	}
	plan := func(phi PhiRule, weights ...float64) Plan {
		p := DefaultPlan()
		p.Phi, p.Weights, p.Bake, p.Deadline = phi, weights, 20*time.Minute, 20*time.Minute
		return p
	}
	var cases []Case
	for _, times := range []struct {
		name string
		late float64 // 0.05 + 0.95·late = 0.05·times
	}{{"3×", 0.10 / 0.95}, {"2×", 0.05 / 0.95}} {
		for _, phi := range []PhiRule{PhiOne, PhiEstimated} {
			harm, tail := Harm{LateFirst: times.late}, ", steady, φ "+string(phi)
			steady := shapes["at the limit, steady"]
			cases = append(cases,
				Case{times.name + ", one gate, one step" + tail, steady, plan(phi, 0.5), harm, ttftGate},
				Case{times.name + ", three gates, four steps" + tail, steady, plan(phi, 0.5, 0.5, 0.5, 0.5), harm, 0})
		}
		harm := Harm{LateFirst: times.late}
		shorter := plan(PhiEstimated, 0.5)
		shorter.Calibration = 5 * time.Minute
		cases = append(cases, Case{times.name + ", one gate, one step, steady, φ from five minutes", shapes["at the limit, steady"], shorter, harm, ttftGate})
		shorter.Weights = []float64{0.5, 0.5, 0.5, 0.5}
		cases = append(cases, Case{times.name + ", three gates, four steps, steady, φ from five minutes", shapes["at the limit, steady"], shorter, harm, 0})
		cases = append(cases, Case{
			times.name + ", three gates, four steps, pod stalls, φ estimated",
			shapes["at the limit, pod stalls"], plan(PhiEstimated, 0.5, 0.5, 0.5, 0.5), harm, 0,
		})
		harm.From = 3
		late := plan(PhiEstimated, 0.5, 0.5, 0.5, 0.5)
		late.Bake, late.MinRequests = 5*time.Minute, 1500
		cases = append(cases, Case{times.name + " in the last step, after three healthy ones", shapes["at the limit, steady"], late, harm, 0})
	}
	for _, c := range []struct {
		name string
		harm Harm
	}{{"default gates, canary twice as slow", Harm{Slow: 2}}, {"default gates, 5 % errors", Harm{Errors: 0.05}}} {
		cases = append(cases, Case{c.name, shapes["pod stalls"], plan(PhiEstimated, 0.1, 0.2, 0.35, 0.5), c.harm, 0})
	}
	return cases
}
