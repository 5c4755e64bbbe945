// Package top is `kubectl infer top`: the load on each pod and each target model
// now, from the metrics of model servers and endpoint pickers. Two looks, one
// interval apart, make rates; load.go makes rows of them and is pure.
package top

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/plugin/collect"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// maxWatch is how many tables --watch shows at most: an hour at the default
// interval.
const maxWatch = 1800

// command is the command line.
type command struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams

	all      bool
	watch    bool
	count    int
	interval time.Duration
	output   string
	option.Metrics
}

// New is the command.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	c := &command{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show the load on each pod and each target model, now",
		Long: `Show the load on each pod and each target model, now.

Requests running and waiting, and KV cache use, are what each model server says;
requests a second and errors are what the endpoint pickers counted in the
interval. With --watch it is shown again and again, --count times at most.`,
		Example: `  kubectl infer top -n default
  kubectl infer top --watch --interval 5s
  kubectl infer top -o json | jq '.pods[] | select(.waiting > 10)'`,
		Args: option.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	set := cmd.Flags()
	set.AddFlagSet(option.Kube(flags))
	set.BoolVarP(&c.all, "all-namespaces", "A", false, "show every namespace's pools")
	set.BoolVarP(&c.watch, "watch", "w", false, "show it again after every interval")
	set.IntVar(&c.count, "count", maxWatch, "how often --watch shows it")
	set.DurationVar(&c.interval, "interval", 2*time.Second, "time between two looks")
	set.StringVarP(&c.output, "output", "o", "", "json (with --watch, a line for each look), or empty for tables")
	c.Add(set)
	return cmd
}

func (c *command) check() error {
	if err := option.Choice("--output", c.output, "", "json"); err != nil {
		return err
	}
	if c.interval < 100*time.Millisecond || c.interval > time.Hour {
		return exit.With(exit.Usage, hint.Errorf("--interval 2s", "--interval %v is not between 100ms and 1h", c.interval))
	}
	if c.count < 1 || c.count > maxWatch {
		return exit.With(exit.Usage, hint.Errorf("--count 10", "--count %d is not between 1 and %d", c.count, maxWatch))
	}
	return c.Check()
}

func (c *command) run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	clients, err := kube.New(c.flags)
	if err != nil {
		return err
	}
	surveyor := evidence.NewSurveyor(clients, c.Options())
	defer surveyor.Close()
	before, err := c.look(ctx, clients, surveyor)
	if err != nil {
		return err
	}
	times := 1
	if c.watch {
		times = c.count
	}
	for i := range times {
		timer := time.NewTimer(c.interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil // the user ended it
		case <-timer.C:
		}
		now, err := c.look(ctx, clients, surveyor)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if i > 0 && c.output == "" {
			fmt.Fprintln(c.streams.Out)
		}
		if err := c.print(load(before, now)); err != nil {
			return err
		}
		before = now
	}
	return nil
}

// look asks all pools' pods once.
func (c *command) look(ctx context.Context, clients *kube.Clients, surveyor *evidence.Surveyor) (looked, error) {
	namespace := clients.Namespace
	if c.all {
		namespace = ""
	}
	s, err := collect.Pools(ctx, clients, namespace)
	if err != nil {
		return looked{}, err
	}
	if len(s.Pools) == 0 {
		return looked{}, hint.Errorf("kubectl infer top -A", "no InferencePool can be read in %s", map[bool]string{true: "any namespace", false: "namespace " + namespace}[c.all])
	}
	out := looked{}
	for _, pool := range s.Pools {
		says, err := surveyor.Look(ctx, collect.Arm(s, pool), s.Pods, false)
		if err != nil {
			return looked{}, err
		}
		out.pools = append(out.pools, poolLook{namespace: pool.Namespace, name: pool.Name, says: says})
	}
	out.at = time.Now()
	return out, nil
}

func (c *command) print(d document) error {
	if c.output == "json" {
		return json.NewEncoder(c.streams.Out).Encode(d)
	}
	table := tabwriter.NewWriter(c.streams.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "POOL\tPOD\tREADY\tRUNNING\tWAITING\tKV CACHE\tRESTARTS")
	for _, p := range d.Pods {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", p.Pool, p.Pod, map[bool]string{true: "yes", false: "no"}[p.Ready], strings.Join(p.cells(), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(d.Models) > 0 {
		fmt.Fprintln(table, "\nPOOL\tTARGET MODEL\tRUNNING\tREQUESTS/S\tERRORS")
		for _, m := range d.Models {
			errors := "none ended"
			if m.Ended > 0 {
				errors = fmt.Sprintf("%.3g%%", 100*m.Failed/m.Ended)
			}
			fmt.Fprintf(table, "%s\t%s\t%.0f\t%.3g\t%s\n", m.Pool, m.Model, m.Running, m.Rate, errors)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	for _, problem := range d.Problems {
		fmt.Fprintf(c.streams.ErrOut, "note: %s\n", problem)
	}
	return nil
}
