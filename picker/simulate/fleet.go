package simulate

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// begin is the time at which every run begins.
var begin = time.Unix(1_000_000, 0)

// server is one model server, and when it is looked at next.
type server struct {
	engine   *modelsim.Engine
	scrapeAt time.Time
}

// run is one trace under one policy.
type run struct {
	scenario Scenario
	rng      *rand.Rand // when scrapes happen
	servers  []*server
	replicas []Policy
	of       map[*modelsim.Sequence]int // the replica that sent it
	result   Result
}

func newRun(s Scenario, p Kind, seed uint64) *run {
	r := &run{scenario: s, rng: rand.New(rand.NewPCG(seed, 0x5c4a)), of: map[*modelsim.Sequence]int{}}
	for i := range s.Servers {
		cfg := s.Engine
		cfg.Seed = seed<<8 + uint64(i)
		server := &server{engine: modelsim.NewEngine(cfg, begin)}
		if i == 0 && s.Slow > 0 {
			server.engine.SetFaults(modelsim.Faults{SlowFactor: s.Slow})
		}
		server.scrapeAt = begin.Add(time.Duration(r.rng.Float64() * float64(s.Scrape)))
		r.servers = append(r.servers, server)
	}
	for i := range max(1, s.Replicas) {
		r.replicas = append(r.replicas, p.New(s, rand.New(rand.NewPCG(seed, uint64(i)))))
	}
	r.result.Sent = make([]int, s.Servers)
	return r
}

// play serves the trace to its end.
func (r *run) play(trace []Request) {
	for i := range trace {
		now := begin.Add(trace[i].At)
		r.scrapes(now)
		r.advance(now)
		r.submit(&trace[i], i%len(r.replicas), now)
	}
	// No queue is longer than this takes.
	r.advance(begin.Add(trace[len(trace)-1].At + 24*time.Hour))
}

func (r *run) submit(q *Request, replica int, now time.Time) {
	at := r.replicas[replica].Choose(q, now)
	r.result.Sent[at]++
	seq, err := r.servers[at].engine.Submit(now, modelsim.Job{
		Request: uint64(len(r.of)), Model: q.Model, Adapter: q.adapter(),
		PromptTokens: q.Tokens, OutputTokens: q.Output, Blocks: q.Blocks,
	})
	if err != nil {
		r.replicas[replica].Ended(at)
		r.result.Refused++
		return
	}
	r.of[seq] = replica
}

// advance moves all servers to now and tells the policies what ended.
func (r *run) advance(now time.Time) {
	for i, s := range r.servers {
		for _, e := range s.engine.Advance(now) {
			switch {
			case e.Kind == modelsim.EventFinished:
				r.replicas[r.of[e.Seq]].Ended(i)
				delete(r.of, e.Seq)
			case e.Nth == 1:
				r.result.TTFT = append(r.result.TTFT, e.Seq.FirstToken.Sub(e.Seq.Arrived))
				r.result.Held += e.Seq.Cached
				r.result.Prompts += e.Seq.PromptTokens
			}
		}
	}
}

// scrapes shows the policies what the servers say up to now, in order of time.
func (r *run) scrapes(now time.Time) {
	for {
		next := slices.MinFunc(r.servers, func(a, b *server) int { return a.scrapeAt.Compare(b.scrapeAt) })
		if next.scrapeAt.After(now) {
			return
		}
		at := next.scrapeAt
		r.advance(at)
		load := next.engine.Load()
		for _, p := range r.replicas {
			p.Scraped(slices.Index(r.servers, next), load, at)
		}
		next.scrapeAt = at.Add(time.Duration((0.5 + r.rng.Float64()) * float64(r.scenario.Scrape)))
	}
}
