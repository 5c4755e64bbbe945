package evidence

import (
	"testing"

	"k8s.io/apimachinery/pkg/labels"
)

func TestATallyCountsEveryArmSinceItsStart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	third := &picker{born: 1, started: 40}
	r.addPicker("third-picker", "third", third)
	r.addServer("third-0", "third")
	more := r.arms.canary().pool
	more.Name, more.Servers, more.Pickers = "third", labels.SelectorFromSet(labels.Set{"serves": "third"}), labels.SelectorFromSet(labels.Set{"picks": "third"})
	pools := []Pool{r.arms.stable().pool, r.arms.canary().pool, more}
	tally := NewTally(r.arms.clients, pools, Options{Via: Direct})
	t.Cleanup(tally.Close)
	if err := tally.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	read := func(rule string, stable, canary, other uint64) {
		t.Helper()
		counts, _, err := tally.Read(t.Context())
		if err != nil || counts[0].Started != stable || counts[1].Started != canary || counts[2].Started != other || counts[2].Ready != 1 {
			t.Errorf("%s: %+v, %v", rule, counts, err)
		}
	}
	read("what was before its start is not counted", 0, 0, 0)
	r.canary.set(func(p *picker) { p.started = 7 })
	third.set(func(p *picker) { p.started = 42 })
	read("each arm counts its own", 0, 7, 2)
	third.set(func(p *picker) { p.born, p.started = 2, 3 })
	read("a restarted process counts on", 0, 7, 5)
	r.canary.set(func(p *picker) { p.started, p.down = 8, true })
	if _, _, err := tally.Read(t.Context()); err == nil {
		t.Error("an arm that cannot be read is not told of")
	}
	r.canary.set(func(p *picker) { p.down = false })
	read("a missed reading is caught up with", 0, 8, 5)
}
