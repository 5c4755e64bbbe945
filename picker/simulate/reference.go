package simulate

import (
	"container/list"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// reference is the reference picker as its default configuration has it: the sum of
// queue, KV cache and prefix scores, weighted 2, 2 and 3, and the highest sum, chance
// among equals. It knows what the last scrapes said, and which prompts it sent where.
// Source: pkg/epp/config/loader/defaults.go of gateway-api-inference-extension v1.5.0
// and the plugins it names.
type reference struct {
	rng    *rand.Rand
	loads  []modelsim.Load
	caches []*lru
}

const (
	referenceBlocks   = 256   // of a prompt that it looks at
	referenceCapacity = 31250 // blocks that it remembers for each server
)

func newReference(s Scenario, rng *rand.Rand) Policy {
	p := &reference{rng: rng, loads: make([]modelsim.Load, s.Servers)}
	for range s.Servers {
		p.caches = append(p.caches, newLRU(referenceCapacity))
	}
	return p
}

func (p *reference) Choose(r *Request, _ time.Time) int {
	blocks := r.Blocks[:min(len(r.Blocks), referenceBlocks)]
	shortest := slices.MinFunc(p.loads, byQueue).Waiting
	longest := slices.MaxFunc(p.loads, byQueue).Waiting
	best, most := -1, 0.0
	for _, i := range p.rng.Perm(len(p.loads)) {
		queue := 1.0
		if longest > shortest {
			queue = float64(longest-p.loads[i].Waiting) / float64(longest-shortest)
		}
		score := 2*queue + 2*(1-p.loads[i].KVUsage) + 3*p.caches[i].share(blocks)
		if best < 0 || score > most {
			best, most = i, score
		}
	}
	p.caches[best].add(blocks)
	return best
}

func byQueue(a, b modelsim.Load) int { return a.Waiting - b.Waiting }

func (p *reference) Ended(int) {}

func (p *reference) Scraped(server int, load modelsim.Load, _ time.Time) { p.loads[server] = load }

// lru is what the reference believes one server to hold.
type lru struct {
	capacity int
	order    *list.List // the newest first
	at       map[uint64]*list.Element
}

func newLRU(capacity int) *lru {
	return &lru{capacity, list.New(), map[uint64]*list.Element{}}
}

func (l *lru) add(blocks []uint64) {
	for _, b := range blocks {
		if e, ok := l.at[b]; ok {
			l.order.MoveToFront(e)
			continue
		}
		l.at[b] = l.order.PushFront(b)
		if l.order.Len() > l.capacity {
			oldest := l.order.Remove(l.order.Back()).(uint64) //nolint:forcetypeassert // only those are in it
			delete(l.at, oldest)
		}
	}
}

// share is the part of the blocks that the server holds.
func (l *lru) share(blocks []uint64) float64 {
	held := 0
	for _, b := range blocks {
		if _, ok := l.at[b]; ok {
			held++
		}
	}
	return float64(held) / float64(max(1, len(blocks)))
}
