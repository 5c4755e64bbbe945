package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// contender is one server in a suite.
type contender struct {
	name string
	// argv starts it, with three ports of its own: ext_proc, health, metrics.
	argv func(grpc, health, metrics string) []string
	env  []string
	// mode is the only one it serves; "" for all.
	mode mode
	// sets is a header that one of its answers must set.
	sets string
}

func (c contender) plays(m mode) bool { return c.mode == "" || c.mode == m }

// contest is one case: a request sent to every contender.
type contest struct {
	label  string
	mode   mode
	script script
	bytes  int
}

// effort says how long to measure.
type effort struct {
	rounds      int
	slice       time.Duration // of one contender in one round
	concurrency int
	connections int
}

// sample is one measurement.
type sample struct {
	cpu      time.Duration // of the server, per request
	p50, p99 time.Duration // of the driver, per request
}

// results holds the samples of one contest by contender, one per round.
type results map[string][]sample

// compete starts the contenders and lets them take turns in every contest. It
// returns the results by contest, and each contender's peak memory in bytes.
func compete(ctx context.Context, s suite, e effort, progress func(string)) ([]results, map[string]int64, error) {
	running := make([]*process, len(s.contenders))
	for i, c := range s.contenders {
		p, err := c.start(ctx, e.connections)
		if err != nil {
			return nil, nil, err
		}
		defer p.stop()
		running[i] = p
	}
	out := make([]results, len(s.contests))
	for i, contest := range s.contests {
		progress(contest.label)
		out[i] = results{}
		for round := range e.rounds + 1 {
			for j, c := range s.contenders {
				if !c.plays(contest.mode) {
					continue
				}
				got, err := running[j].measure(ctx, contest.script, c.sets, e)
				if err != nil {
					return nil, nil, fmt.Errorf("%s, %s: %w\n%s", c.name, contest.label, err, running[j].log.String())
				}
				if round > 0 { // the first one warms up
					out[i][c.name] = append(out[i][c.name], got)
				}
			}
		}
	}
	memory := map[string]int64{}
	for i, c := range s.contenders {
		peak, err := running[i].peakMemory()
		if err != nil {
			return nil, nil, err
		}
		memory[c.name] = max(memory[c.name], peak)
	}
	return out, memory, nil
}

func (c contender) start(ctx context.Context, connections int) (*process, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	argv := c.argv(ports[0], ports[1], ports[2])
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, fmt.Errorf("find %s: %w", c.name, err)
	}
	return start(ctx, argv, c.env, "127.0.0.1:"+ports[0], connections)
}

// measure plays script for a slice of time and returns what a request cost.
func (p *process) measure(ctx context.Context, s script, sets string, e effort) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+e.slice)
	defer cancel()
	before, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	latencies, err := p.load(ctx, s, sets, e)
	if err != nil {
		return sample{}, err
	}
	after, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	slices.Sort(latencies)
	return sample{
		cpu: (after - before) / time.Duration(len(latencies)),
		p50: latencies[len(latencies)/2],
		p99: latencies[len(latencies)*99/100],
	}, nil
}

// load plays script with bounded concurrency and returns how long each play took.
func (p *process) load(ctx context.Context, s script, sets string, e effort) ([]time.Duration, error) {
	var (
		workers sync.WaitGroup
		failed  atomic.Pointer[error]
		end     = time.Now().Add(e.slice)
		took    = make([][]time.Duration, e.concurrency)
	)
	for i := range e.concurrency {
		workers.Go(func() {
			conn := p.conns[i%len(p.conns)]
			for first := true; (first || time.Now().Before(end)) && failed.Load() == nil; first = false {
				d, err := timed(ctx, conn, s, sets)
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				took[i] = append(took[i], d)
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return slices.Concat(took...), nil
}

func timed(ctx context.Context, conn *grpc.ClientConn, s script, sets string) (time.Duration, error) {
	began := time.Now()
	err := play(ctx, conn, s, sets)
	return time.Since(began), err
}

// ratio returns the median over rounds of a's CPU time in parts of b's.
func (r results) ratio(a, b string) float64 {
	n := min(len(r[a]), len(r[b]))
	ratios := make([]float64, n)
	for i := range n {
		ratios[i] = float64(r[a][i].cpu) / float64(r[b][i].cpu)
	}
	return median(ratios)
}

// of returns the median over rounds of one figure of a contender.
func (r results) of(name string, figure func(sample) time.Duration) time.Duration {
	values := make([]time.Duration, len(r[name]))
	for i, s := range r[name] {
		values[i] = figure(s)
	}
	return median(values)
}

// median returns the middle value, 0 of none. It sorts values.
func median[T ~int64 | ~float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}
