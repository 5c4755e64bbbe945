package evidence

import (
	"errors"
	"strconv"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

// ledger remembers what every process of an arm had counted when it was last
// read, and says what of a new page belongs to the present window. It is pure:
// it is told what was listed, what was read, and when weights moved.
//
// What it never does is invent: a process is counted from its beginning only
// if it is known to have begun after the last move, a series that vanishes and
// comes back is no restart, and nothing that may have happened before a move
// counts after it.
type ledger struct {
	delta     scrape.Delta
	processes map[string]*process // by endpoint
	began     bool                // a page was read
	moves     int
}

type process struct {
	name  string // endpoint and start time; "" before the first page
	young bool   // its endpoint was first listed after the ledger began
	moves int    // moves when it was last read, or else first listed
	odd   int    // pages in a row that contradict the last sound one
}

// list tells which endpoints there are; others are forgotten.
func (l *ledger) list(endpoints []string) {
	old := l.processes
	l.processes = make(map[string]*process, len(endpoints))
	for _, id := range endpoints {
		p, known := old[id]
		if !known {
			p = &process{young: l.began, moves: l.moves}
		}
		l.processes[id] = p
		delete(old, id)
	}
	for _, gone := range old {
		l.delta.Forget(gone.name)
	}
}

// moved tells that weights moved: what is read from now on, of a process not
// read since, may be from before.
func (l *ledger) moved() { l.moves++ }

// What a page can say that no window can use.
var (
	errFell   = errors.New("a counter fell though the process is the same")
	errGrowth = errors.New("a counter grew by more than any model server answers")
)

// patience is how many pages in a row may contradict the one before them.
const patience = 3

// maxGrowth is more than any arm counts in one window: a page that claims more
// is broken.
const maxGrowth = 1e9

// add takes a page's values (see reading; the first is requests begun) and
// returns by how much they grew in this window: nil when what they grew by
// belongs to no window, with an error when the page contradicts the one before
// it. The time a process was born tells restarts; 0 for unknown.
func (l *ledger) add(id string, born float64, values []float64) ([]float64, error) {
	l.began = true
	p := l.processes[id]
	if p == nil {
		p = &process{moves: l.moves} // never listed: its past is unknown
		if l.processes == nil {
			l.processes = map[string]*process{}
		}
		l.processes[id] = p
	}
	name := id + "@" + strconv.FormatFloat(born, 'f', -1, 64)
	seen := p.moves == l.moves
	restarted := p.name != "" && p.name != name
	if restarted {
		l.delta.Forget(p.name)
	}
	if seen && (restarted || p.name == "" && p.young) {
		l.delta.Born(name, len(values))
	}
	p.name, p.moves = name, l.moves
	if last, known := l.delta.Last(name); known && contradicts(last, values, born) {
		// The page before is kept: when this one was a slip, what comes next counts
		// from there. One that stays is taken up, and nothing counted.
		if p.odd++; p.odd < patience {
			return nil, errFell
		}
		l.delta.Forget(name)
	}
	p.odd = 0
	grown, known := l.delta.Observe(name, values)
	if !known || !seen {
		return nil, nil
	}
	for _, g := range grown {
		if g > maxGrowth {
			return nil, errGrowth
		}
	}
	return grown, nil
}

// contradicts says that some counters fell and it was no restart: the process
// is known to be the same, or others did not fall.
func contradicts(last, values []float64, born float64) bool {
	if len(last) != len(values) {
		return false // starts anew
	}
	fell, kept := false, false
	for i, v := range values {
		fell = fell || v < last[i]
		kept = kept || last[i] > 0 && v >= last[i]
	}
	return fell && (born > 0 || kept)
}
