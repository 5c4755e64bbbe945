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

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
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
	// endpoints is the family of its metrics page that says how many Pods it may
	// pick; "" where it has none.
	endpoints string
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
	idle        time.Duration // of one contender without requests; 0: not measured
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

// standing is what a contender takes beside the time of requests.
type standing struct {
	memory int64   // peak resident, in bytes
	idle   float64 // cores without a request
}

// outcome is what came of a suite.
type outcome struct {
	contests  []results // in the order of the suite's
	standings map[string]standing
}

// compete starts the contenders and lets them take turns in every contest.
func compete(ctx context.Context, s suite, e effort, progress func(string)) (outcome, error) {
	running := make([]*process, len(s.contenders))
	for i, c := range s.contenders {
		p, err := c.start(ctx, s.pods, e.connections)
		if err != nil {
			return outcome{}, err
		}
		defer p.stop()
		running[i] = p
	}
	out := outcome{contests: make([]results, len(s.contests)), standings: map[string]standing{}}
	for i, contest := range s.contests {
		progress(contest.label)
		out.contests[i] = results{}
		for round := range e.rounds + 1 {
			for j, c := range s.contenders {
				if !c.plays(contest.mode) {
					continue
				}
				got, err := running[j].measure(ctx, contest.script, c.sets, e)
				if err != nil {
					return outcome{}, fmt.Errorf("%s, %s: %w\n%s", c.name, contest.label, err, running[j].log.String())
				}
				if round > 0 { // the first one warms up
					out.contests[i][c.name] = append(out.contests[i][c.name], got)
				}
			}
		}
	}
	for i, c := range s.contenders {
		progress(c.name + " without requests")
		got, err := running[i].stand(ctx, e.idle)
		if err != nil {
			return outcome{}, err
		}
		former := out.standings[c.name]
		out.standings[c.name] = standing{max(former.memory, got.memory), max(former.idle, got.idle)}
	}
	return out, nil
}

// start returns a server that knows its Pods and sleeps until its turn.
func (c contender) start(ctx context.Context, pods, connections int) (*process, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	argv := c.argv(ports[0], ports[1], ports[2])
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, fmt.Errorf("find %s: %w", c.name, err)
	}
	p, err := start(ctx, argv, c.env, "127.0.0.1:"+ports[0], connections)
	if err != nil {
		return nil, err
	}
	if c.endpoints != "" {
		err = awaitEndpoints(ctx, "http://127.0.0.1:"+ports[2]+"/metrics", c.endpoints, pods)
		pause(ctx, 3*time.Second) // connected to all of them, and asked each for its load
	}
	if err == nil {
		err = p.sleep()
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("start %s: %w\n%s", c.name, err, p.log.String())
	}
	return p, nil
}

// awaitEndpoints returns when a picker's metrics page tells of so many Pods.
func awaitEndpoints(ctx context.Context, url, family string, pods int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := scrape.NewClient()
	defer client.CloseIdleConnections()
	for {
		page, err := scrape.Fetch(ctx, client, url, []string{family}, scrape.DefaultLimits())
		if err == nil {
			got, _ := page.Sum(family, nil)
			if got == float64(pods) {
				return nil
			}
			err = fmt.Errorf("%s is %v", family, got)
		}
		if !pause(ctx, 100*time.Millisecond) {
			return fmt.Errorf("wait for %d Pods: %w", pods, err)
		}
	}
}

// pause is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// settle is how long a server works, after its sleep, before its turn counts.
const settle = 50 * time.Millisecond

// measure plays script for a slice of time and returns what a request cost.
func (p *process) measure(ctx context.Context, s script, sets string, e effort) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+e.slice)
	defer cancel()
	if err := p.wake(); err != nil {
		return sample{}, err
	}
	defer func() { _ = p.sleep() }()
	warm := e
	warm.slice = settle
	if _, err := p.load(ctx, s, sets, warm); err != nil {
		return sample{}, err
	}
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

// stand measures what the server takes while nobody asks it anything.
func (p *process) stand(ctx context.Context, idle time.Duration) (standing, error) {
	memory, err := p.peakMemory()
	if err != nil || idle == 0 {
		return standing{memory: memory}, err
	}
	if err := p.wake(); err != nil {
		return standing{}, err
	}
	defer func() { _ = p.sleep() }()
	pause(ctx, time.Second)
	before, err := p.cpu()
	if err != nil {
		return standing{}, err
	}
	began := time.Now()
	pause(ctx, idle)
	after, err := p.cpu()
	return standing{memory, float64(after-before) / float64(time.Since(began))}, err
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
