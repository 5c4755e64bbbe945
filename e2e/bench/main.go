package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "error:", err)
		if h := hint.Of(err); h != "" {
			fmt.Fprintln(os.Stderr, "hint:", h)
		}
		stop()
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	suite, bin, write, only, floor string
	pods                           []int
	long                           bool
	effort                         effort
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.SortFlags = false
	fs.StringVar(&o.suite, "suite", "body-router", "what to measure: body-router, endpoint-picker or start")
	fs.StringVar(&o.only, "only", "", "measure only the cases whose name contains this")
	fs.IntSliceVar(&o.pods, "pods", []int{8, 400}, "sizes of the pools that pickers pick from")
	fs.BoolVar(&o.long, "long-pages", false, "Pods give vLLM's whole metrics page, and not only the gauges that pickers read")
	fs.StringVar(&o.bin, "bin", "bin", "folder of our programs, and of the peers in its folder peers")
	fs.StringVar(&o.write, "write", "", "also write the table into this Markdown file, between the marks of the suite")
	fs.IntVar(&o.effort.rounds, "rounds", 7, "turns of each server in each case; the median is reported")
	fs.DurationVar(&o.effort.slice, "slice", 400*time.Millisecond, "length of a turn")
	fs.DurationVar(&o.effort.idle, "idle", 4*time.Second, "how long each picker is watched without requests")
	fs.IntVar(&o.effort.concurrency, "concurrency", 8, "requests at once")
	fs.IntVar(&o.effort.connections, "connections", 2, "connections of the driver to a server; Envoy has one per worker")
	fs.StringVar(&o.floor, "serve-floor", "", "serve the floor at this address instead of measuring")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if o.effort.rounds < 1 || o.effort.concurrency < 1 || o.effort.connections < 1 {
		return nil, errors.New("--rounds, --concurrency and --connections: must be positive")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.floor != "" {
		return serveFloor(ctx, o.floor)
	}
	if o.suite == "start" {
		return o.starts(ctx, args, stdout)
	}
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	suites, stop, err := o.prepare(ctx, folder)
	defer stop()
	if err != nil {
		return err
	}
	text := origin(ctx, args)
	fmt.Fprint(stdout, text)
	for _, s := range suites {
		got, err := compete(ctx, s, o.effort, func(what string) { fmt.Fprintln(stderr, "measuring", s.title, what) })
		if err != nil {
			return hint.Wrap(err, "build the servers: make build && e2e/peers/build.sh")
		}
		rows := "\n" + table(s, got)
		fmt.Fprint(stdout, rows)
		text += rows
	}
	return o.publish(text)
}

// origin says which command made a table, of what, when, and beside what.
func origin(ctx context.Context, args []string) string {
	return "`go run ./e2e/bench " + strings.Join(args, " ") + "`, commit " + commit(ctx) + ", " +
		time.Now().UTC().Format(time.DateOnly) + busy() + "\n"
}

// publish writes a table into the docs, when that was asked for.
func (o *options) publish(text string) error {
	if o.write == "" {
		return nil
	}
	return rewrite(o.write, o.suite, text)
}

// starts is the suite of commands that start and end.
func (o *options) starts(ctx context.Context, args []string, stdout io.Writer) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	commands, err := startUp(ctx, bin)
	if err != nil {
		return err
	}
	got, err := timeStarts(ctx, commands, 41)
	if err != nil {
		return hint.Wrap(err, "make build assets")
	}
	text := origin(ctx, args) + "\n" + startTable(commands, got)
	fmt.Fprint(stdout, text)
	return o.publish(text)
}

// prepare makes the suites, and what their servers need beside them until stop is
// called, which is never nil.
func (o *options) prepare(ctx context.Context, folder string) (suites []suite, stop func(), err error) {
	stop = func() {}
	p := places{kubeconfig: filepath.Join(folder, "kubeconfig")}
	if p.self, err = os.Executable(); err != nil {
		return nil, stop, err
	}
	if p.bin, err = filepath.Abs(o.bin); err != nil {
		return nil, stop, err
	}
	switch o.suite {
	case "body-router":
		if err := os.WriteFile(p.kubeconfig, []byte(nobody), 0o600); err != nil {
			return nil, stop, err
		}
		o.effort.idle = 0
		suites = make([]suite, 1)
		suites[0], err = bodyRouter(p)
	case "endpoint-picker":
		c, failed := startCluster(ctx, folder, o.long)
		stop = c.stop
		if failed != nil {
			return nil, stop, failed
		}
		suites, err = endpointPickers(ctx, p, c, o.pods)
	default:
		err = fmt.Errorf("--suite %s: none of body-router, endpoint-picker and start", o.suite)
	}
	for i := range suites {
		suites[i].contests = slices.DeleteFunc(suites[i].contests, func(c contest) bool { return !strings.Contains(c.label, o.only) })
	}
	return suites, stop, err
}

// nobody is a kubeconfig for servers that insist on one and never use it.
const nobody = `apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
current-context: none
`

// busy tells how many threads wanted a core of this machine over the last minute:
// figures taken beside other work are worth less.
func busy() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	load, _, _ := strings.Cut(string(text), " ")
	return ", load average before it " + load
}

// commit names what is measured; "unknown" outside a clone.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
