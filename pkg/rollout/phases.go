package rollout

import (
	"fmt"
	"strings"
)

// Transition is one way from a phase to another, as the journal shows it.
type Transition struct {
	From, To Phase
	When     string
}

// Transitions is the table of all there are. Next makes no other (the tests'
// watcher holds every run to it), and docs/reliability.md shows it.
func Transitions() []Transition {
	table := []Transition{
		{Ready, Raising, "the target is stamped and stands at the recorded baseline"},
		{Raising, Raising, "the canary is listed at weight 0: the first step"},
		{Raising, Settling, "the weights were read back and every parent accepted them"},
		{Settling, Baking, "the settle period is over"},
		{Settling, Raising, "`promote --full`, or a new process watches the step from the start"},
		{Baking, Raising, "the step passed, `promote --full`, or a new process took over"},
		{Baking, Waiting, "the step passed and needs approval"},
		{Baking, Promoted, "the last step passed"},
		{Waiting, Raising, "approved, `promote --full`, or a new process took over"},
		{Waiting, Settling, "a new process found the weights as they should be"},
		{Waiting, Promoted, "the last step was approved"},
		{Baking, Settling, "a new process found the weights as they should be"},
		{RollingBack, RolledBack, "the baseline was read back"},
		{Promoted, RollingBack, "`undo`"},
	}
	for _, from := range []Phase{Ready, Raising, Settling, Baking, Waiting} {
		table = append(table, Transition{from, RollingBack, "harm, `abort`, or an interrupt with `--on-interrupt=rollback`"})
	}
	return table
}

// TransitionTable is Transitions in Markdown.
func TransitionTable() string {
	var b strings.Builder
	b.WriteString("| from | to | when |\n|---|---|---|\n")
	for _, t := range Transitions() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", t.From, t.To, t.When)
	}
	return b.String()
}
