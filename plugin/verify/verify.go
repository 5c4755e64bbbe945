// Package verify is `kubectl infer verify`: it asks the gateway what it really
// does, a bounded number of cheap requests at a time, and compares that with
// what the objects say. Start at split.go, route.go and mirror.go, the verbs.
//
// What decides is pure: shape.go makes of a route's matches a request that they
// take, judge.go makes of counts a verdict. subject.go reads the cluster, ask.go
// sends, render.go prints.
package verify

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

const apiVersion = "kubectl-infer.github.io/v1alpha1"

// New is the command group.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Ask the gateway what it really does, and compare it with the objects",
		Example: `  kubectl infer verify split httproute/chat
  kubectl infer verify route httproute/chat
  kubectl infer verify mirror httproute/chat`,
	}
	cmd.PersistentFlags().AddFlagSet(option.Kube(flags))
	cmd.AddCommand(newSplit(flags, streams), newRoute(flags, streams), newMirror(flags, streams))
	return cmd
}

// verb is one of the verbs, with its flags read.
type verb interface {
	check() error
	run(ctx context.Context, clients *kube.Clients, streams genericiooptions.IOStreams, s subject) error
}

// start runs a verb on the object that args name, of one of kinds.
func start(cmd *cobra.Command, flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, v verb, args []string, kinds ...string) error {
	s, err := parseSubject(args, kinds...)
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return err
	}
	clients, err := kube.New(flags)
	if err != nil {
		return err
	}
	return v.run(cmd.Context(), clients, streams, s)
}

// asking are the flags of how requests are sent.
type asking struct {
	gateway string
	path    string
	rate    float64
	timeout time.Duration
	headers []string
	output  string
	option.Metrics
}

func (a *asking) add(cmd *cobra.Command) {
	set := cmd.Flags()
	set.StringVar(&a.gateway, "gateway", "", "where to send requests, as http://HOST:PORT (default the address in the status of the route's Gateway)")
	set.StringVar(&a.path, "path", "both", "which requests to send: chat, completions, or both in turn")
	set.Float64Var(&a.rate, "rate", 100, "requests a second, at most")
	set.DurationVar(&a.timeout, "timeout", 30*time.Second, "how long one answer may take")
	set.StringArrayVar(&a.headers, "header", nil, "NAME=VALUE to send with every request, such as Authorization='Bearer …'; repeatable. Headers that the rule's Exact matches name are sent anyway")
	set.StringVarP(&a.output, "output", "o", "", "json, or empty for a table")
	a.Add(set)
}

func (a *asking) check() error {
	for _, err := range []error{
		option.Choice("--path", a.path, chat, completions, "both"),
		option.Choice("--output", a.output, "", "json"),
		a.Metrics.Check(),
	} {
		if err != nil {
			return err
		}
	}
	if !(a.rate > 0 && a.rate <= 10000) || a.timeout <= 0 {
		return exit.With(exit.Usage, hint.Errorf("--rate 100 --timeout 30s", "--rate %g and --timeout %v: the rate is above 0 and up to 10000, the time above 0", a.rate, a.timeout))
	}
	if u, err := url.Parse(a.gateway); a.gateway != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return exit.With(exit.Usage, hint.Errorf("--gateway http://HOST:PORT", "--gateway %q is no address", a.gateway))
	}
	for _, h := range a.headers {
		if name, _, ok := strings.Cut(h, "="); !ok || name == "" {
			return exit.With(exit.Usage, hint.Errorf("--header NAME=VALUE", "--header %q has no name and value", h))
		}
	}
	return nil
}

func (a *asking) kinds() []string {
	if a.path == "both" {
		return []string{chat, completions}
	}
	return []string{a.path}
}

func (a *asking) extra() http.Header {
	extra := http.Header{}
	for _, h := range a.headers {
		name, value, _ := strings.Cut(h, "=")
		extra.Add(name, value)
	}
	return extra
}

// failed is a check that did not hold: already printed.
func failed(why string) error {
	return &exit.Error{Code: exit.CheckFailed, Err: hint.Errorf("", "%s", why), Quiet: true}
}

func printJSON(out io.Writer, document any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}
