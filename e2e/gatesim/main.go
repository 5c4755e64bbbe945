// Command gatesim runs the proof of the gates by simulation and prints the tables
// of docs/gates.md. Start with pkg/gate/simulate, which does the work; here
// are only the flags, the file that makes it resumable, and the tables.
//
//	go run ./e2e/gatesim --state bin/gate-sim.jsonl
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate/simulate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// chunkRuns is how many runs are written to the state at once. The seeds of a
// chunk follow from it, so one state holds chunks of one size only.
const chunkRuns = 50

// chunk is a finished part of a case, one line of the state file.
type chunk struct {
	Case  string         `json:"case"`
	From  uint64         `json:"from"`
	Tally simulate.Tally `json:"tally"`
}

type section struct {
	title string
	cases []simulate.Case
	runs  int // of each case
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatesim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	runs := flags.Int("runs", 10000, "healthy runs, over all kinds of traffic; all numbers of runs are rounded up to fifties")
	harmed := flags.Int("harmed", 200, "runs of each kind of harm")
	without := flags.Int("without-phi", 200, "healthy runs of each hardest kind of traffic without φ")
	file := flags.String("state", "", "file that keeps finished parts, so that a second start goes on; delete it after changing the code")
	workers := flags.Int("workers", 1, "runs at a time")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	debug.SetGCPercent(800) // many short-lived small slices
	healthy := simulate.HealthyCases()
	sections := []section{
		{"Healthy canaries rolled back", healthy, (*runs + len(healthy) - 1) / len(healthy)},
		{"The same without φ", simulate.PhiCases(), *without},
		{"Harmful canaries found", simulate.HarmCases(), *harmed},
	}
	c := campaign{done: map[string]map[uint64]simulate.Tally{}, progress: stderr}
	if *file != "" {
		if err := c.open(*file); err != nil {
			return err
		}
		defer c.close()
	}
	if err := c.work(ctx, c.todo(sections), *workers); err != nil {
		return err
	}
	printHealthy(stdout, sections[0], &c)
	printHealthy(stdout, sections[1], &c)
	printHarm(stdout, sections[2], &c)
	return nil
}

type campaign struct {
	mu       sync.Mutex
	done     map[string]map[uint64]simulate.Tally // by case and first seed
	file     *os.File
	progress io.Writer
}

type job struct {
	what simulate.Case
	from uint64
}

func (c *campaign) open(path string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read state: %w", err)
	}
	whole := 0 // a line cut short by an interrupt is dropped
	for rest := old; len(rest) > 0; {
		n, line, err := bufio.ScanLines(rest, false)
		if err != nil || n == 0 {
			break
		}
		var part chunk
		if err := json.Unmarshal(line, &part); err != nil {
			return fmt.Errorf("read state %s: %w", path, err)
		}
		c.keep(part)
		whole, rest = whole+n, rest[n:]
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	c.file = f
	if err := f.Truncate(int64(whole)); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = f.Seek(0, io.SeekEnd)
	return err
}

func (c *campaign) close() { _ = c.file.Close() }

func (c *campaign) keep(part chunk) {
	if c.done[part.Case] == nil {
		c.done[part.Case] = map[uint64]simulate.Tally{}
	}
	c.done[part.Case][part.From] = part.Tally
}

// todo are the parts not done yet, every case in turn, so that an interrupted
// campaign has some of each.
func (c *campaign) todo(sections []section) []job {
	var jobs []job
	for from, more := 0, true; more; from += chunkRuns {
		more = false
		for _, s := range sections {
			for _, what := range s.cases {
				if from >= s.runs {
					continue
				}
				more = true
				if _, ok := c.done[what.Name][uint64(from)]; !ok {
					jobs = append(jobs, job{what, uint64(from)})
				}
			}
		}
	}
	return jobs
}

// work does the jobs until they are done or ctx ends; then what is done counts.
func (c *campaign) work(ctx context.Context, jobs []job, workers int) error {
	queue := make(chan job)
	failed := make(chan error, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for j := range queue {
				if err := c.do(j); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
feed:
	for i, j := range jobs {
		select {
		case queue <- j:
			fmt.Fprintf(c.progress, "%d of %d: %s\n", i+1, len(jobs), j.what.Name)
		case err = <-failed:
			break feed
		case <-ctx.Done():
			fmt.Fprintln(c.progress, "interrupted: the tables hold what is done")
			break feed
		}
	}
	close(queue)
	wg.Wait()
	select {
	case e := <-failed:
		err = e
	default:
	}
	return err
}

func (c *campaign) do(j job) error {
	tally, err := j.what.Run(j.from, chunkRuns)
	if err != nil {
		return err
	}
	part := chunk{j.what.Name, j.from, tally}
	line, err := json.Marshal(part)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(part)
	if c.file != nil {
		if _, err := c.file.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write state: %w", err)
		}
	}
	return nil
}

func (c *campaign) tally(name string) simulate.Tally {
	var all simulate.Tally
	for _, part := range c.done[name] {
		all = all.Plus(part)
	}
	return all
}
