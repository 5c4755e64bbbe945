// Command pickerlive replays one trace of picker/simulate against real processes, once
// for each way to choose: the sandbox's model servers behind its Envoy, with the
// reference picker and with ours; a Service, of whose Pods Envoy takes the one with the
// least requests; and the simulation's round robin and random, which send to the Pods
// directly. It prints
// what came, beside the same trace simulated. run.sh puts it into a sandbox.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/kubectl-infer/kubectl-infer/picker/simulate"
	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// fleet is what fleet.yaml makes, with one Pod three times slower: LoRA adapters that
// come and go, shared beginnings, uneven lengths.
func fleet(requests int, rate float64) simulate.Scenario {
	engine := modelsim.DefaultConfig().EngineConfig
	engine.MaxNumSeqs, engine.NumBlocks, engine.MaxLoRAs = 4, 1024, 2
	engine.TTFT, engine.TPOT = 400*time.Millisecond, 40*time.Millisecond
	return simulate.Scenario{
		Name: "live", Servers: 6, Requests: requests, Rate: rate, Scrape: time.Second, Replicas: 1, Engine: engine,
		Slow: 3, Prompt: 60, Output: 25, Spread: 0.7, Groups: 6, Shared: 300, Adapters: 8, Churn: 10 * time.Second,
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("pickerlive", flag.ContinueOnError)
	flags.SetOutput(stderr)
	gateway := flags.String("gateway", "", "ip:port of the gateway")
	targets := flags.String("targets", "", "ip:port of each model server, with commas")
	requests := flags.Int("requests", 200, "in the trace")
	rate := flags.Float64("rate", 7, "requests a second")
	seed := flags.Uint64("seed", 1, "of the trace")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	scenario := fleet(*requests, *rate)
	pods := strings.Split(*targets, ",")
	if len(pods) != scenario.Servers {
		return fmt.Errorf("--targets %q: want %d model servers", *targets, scenario.Servers)
	}
	ours, err := simulate.Ours(nil)
	if err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return fmt.Errorf("read the load: %w", err)
	}
	fmt.Fprintf(stdout, "%d requests, %g a second, seed %d, load average %s\n\n", *requests, *rate, *seed, strings.TrimSpace(string(load)))
	fmt.Fprintf(stdout, "| way | TTFT p50 / p90 / p99 in ms | busiest | failed | simulated |\n|---|---|---|---|---|\n")
	trace := scenario.Trace(*seed)
	for i, k := range append(simulate.Peers(), ours) {
		fmt.Fprintln(stderr, k.Name)
		w := way{mark: 'A' + byte(i), url: "http://" + *gateway, name: strings.ReplaceAll(k.Name, " ", "-"), pods: pods}
		if k.Name == "round robin" || k.Name == "random" {
			w.policy = k.New(scenario, rand.New(rand.NewPCG(*seed, 0)))
		}
		live, failed, err := w.replay(ctx, trace)
		if err != nil {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
		simulated := scenario.Run(k, *seed)
		fmt.Fprintf(stdout, "| %s | %s | %.2f | %d | %s |\n", k.Name, quantiles(live), live.Herding(), failed, quantiles(simulated))
	}
	return nil
}

func quantiles(r simulate.Result) string {
	return fmt.Sprintf("%d / %d / %d", r.Quantile(0.5).Milliseconds(), r.Quantile(0.9).Milliseconds(), r.Quantile(0.99).Milliseconds())
}
