package verify

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

// mirrorOptions are those of a split: a mirror is a share, too, of which the
// primary keeps what it gives.
type mirrorOptions struct{ splitOptions }

func newMirror(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var o mirrorOptions
	cmd := &cobra.Command{
		Use:   "mirror httproute/NAME",
		Short: "Count requests and their copies, and compare them with the RequestMirror filter",
		Long: `Count requests and their copies, and compare them with the RequestMirror filter.

Sends a bounded number of one-token requests through the gateway, or none with
--passive, and counts them on the model servers of the rule's pools and of the
filter's backend. Exit code 0: the part that is copied is as asked; 18: it is not,
answers failed, or the requests were too few to tell.`,
		Example: `  kubectl infer verify mirror httproute/chat
  kubectl infer verify mirror httproute/chat --rule qwen --passive --duration 1m -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return start(cmd, flags, streams, &o, args, "httproute")
		},
	}
	cmd.Flags().StringVar(&o.rule, "rule", "", "name or index of the rule, when several are mirrored")
	o.addCounting(cmd)
	return cmd
}

// copying is one RequestMirror filter.
type copying struct {
	rule    int
	label   string
	backend gatewayv1.BackendObjectReference
	asked   float64 // 0 to 1
}

// copyingOf finds the filter that rule, a name or an index, names; "" is the
// only one.
func copyingOf(route *gatewayv1.HTTPRoute, rule string) (copying, error) {
	var found []copying
	var labels []string
	for i := range route.Spec.Rules {
		label := ruleLabel(route, i)
		for _, f := range route.Spec.Rules[i].Filters {
			if f.RequestMirror == nil || rule != "" && rule != label && rule != strconv.Itoa(i) {
				continue
			}
			c := copying{rule: i, label: label, backend: f.RequestMirror.BackendRef, asked: 1}
			switch m := f.RequestMirror; {
			case m.Percent != nil:
				c.asked = float64(*m.Percent) / 100
			case m.Fraction != nil:
				c.asked = math.Min(1, float64(m.Fraction.Numerator)/float64(max(1, deref(m.Fraction.Denominator, 100))))
			}
			found, labels = append(found, c), append(labels, label)
		}
	}
	name := "httproute " + route.Namespace + "/" + route.Name
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return copying{}, hint.Errorf("--rule one of them; a rule with two mirrors cannot be verified yet", "%s: %d RequestMirror filters, in the rules %s", name, len(found), strings.Join(labels, ", "))
	default:
		return copying{}, hint.Errorf("kubectl infer mirror start httproute/"+route.Name+" --to … --percent … --max-tokens-per-second …", "%s: nothing is mirrored", name)
	}
}

// shadowOf are the pods that get the copies.
func shadowOf(ctx context.Context, clients *kube.Clients, route *gatewayv1.HTTPRoute, ref gatewayv1.BackendObjectReference) (evidence.Pool, error) {
	namespace := string(deref(ref.Namespace, gatewayv1.Namespace(route.Namespace)))
	if deref(ref.Kind, "Service") == "InferencePool" {
		return evidence.ResolvePool(ctx, clients, namespace, evidence.PoolRef{Group: string(deref(ref.Group, "")), Name: string(ref.Name)})
	}
	pool, _, err := evidence.ResolveService(ctx, clients, namespace, string(ref.Name), int32(deref(ref.Port, 0)))
	return pool, err
}

func (o *mirrorOptions) run(ctx context.Context, clients *kube.Clients, streams genericiooptions.IOStreams, s subject) error {
	object, err := read(ctx, clients, s)
	if err != nil {
		return err
	}
	route, err := typedRoute(object)
	if err != nil {
		return err
	}
	filter, err := copyingOf(route, o.rule)
	if err != nil {
		return err
	}
	split, err := s.kind.Split(object, strconv.Itoa(filter.rule))
	if err != nil {
		return err
	}
	pools, err := poolsOf(ctx, clients, s, split.Shares)
	if err != nil {
		return err
	}
	shadow, err := shadowOf(ctx, clients, route, filter.backend)
	if err != nil {
		return err
	}
	report := &mirrorReport{
		APIVersion: apiVersion, Kind: "VerifyMirror", Target: s.String(), Namespace: clients.Namespace, Rule: filter.label,
		Shadow: shadow.String(), Asked: filter.asked, Passive: o.passive,
	}
	counts, err := o.tally(ctx, clients, streams, object, split, append(pools, shadow), report)
	if err != nil {
		return err
	}
	if err := report.judge(counts); err != nil {
		return err
	}
	if o.output == "json" {
		err = printJSON(streams.Out, report)
	} else {
		printMirror(streams.Out, report)
	}
	if err == nil && report.Verdict != gate.Pass {
		err = failed(string(report.Verdict))
	}
	return err
}

// tally sends and counts; the last pool is the shadow.
func (o *mirrorOptions) tally(ctx context.Context, clients *kube.Clients, streams genericiooptions.IOStreams, object *unstructured.Unstructured, split target.Split, pools []evidence.Pool, report *mirrorReport) (*splitReport, error) {
	counts := &splitReport{Passive: o.passive, enough: report.enough, Arms: make([]armReport, len(pools))}
	var through *passage
	var err error
	if !o.passive {
		if through, err = o.passage(ctx, clients, object, split, pools[0], true); err != nil {
			return nil, err
		}
		report.Gateway, report.Models = through.base, through.models
	}
	from := o.Options()
	if from.Metrics == evidence.AutoMetrics {
		from.Metrics = "vllm" // no picker is asked for copies
	}
	tally := evidence.NewTally(clients, pools, from)
	defer tally.Close()
	if err := tally.Start(ctx); err != nil {
		return nil, err
	}
	counts.Source, report.Source = tally.Source(), tally.Source()
	return counts, o.count(ctx, streams, tally, through, counts)
}

// mirrorReport is what `verify mirror -o json` prints. Shares are from 0 to 1.
type mirrorReport struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Target     string       `json:"target"`
	Namespace  string       `json:"namespace"`
	Rule       string       `json:"rule"`
	Shadow     string       `json:"shadow"`
	Gateway    string       `json:"gateway,omitempty"`
	Models     []string     `json:"models,omitempty"` // asked for, in turn
	Source     string       `json:"source"`
	Passive    bool         `json:"passive"`
	Answers    answers      `json:"answers"`
	Requests   uint64       `json:"requests"` // counted on the rule's pools
	Copies     uint64       `json:"copies"`   // counted on the shadow
	Asked      float64      `json:"asked"`
	Seen       float64      `json:"seen"`
	Low        float64      `json:"low"` // of the 95 % interval
	High       float64      `json:"high"`
	EValue     float64      `json:"eValue"`
	Limit      float64      `json:"limit"`
	Needed     int          `json:"needed"`
	Verdict    gate.Verdict `json:"verdict"`
	Reasons    []string     `json:"reasons"`
	Next       string       `json:"next,omitempty"`
}

// sums are the requests on all arms but the last, and the copies on that.
func sums(arms []armReport) (requests, copies uint64) {
	for _, arm := range arms[:len(arms)-1] {
		requests += arm.Started
	}
	return requests, arms[len(arms)-1].Started
}

// enough says that no more counts are waited for.
func (r *mirrorReport) enough(s *splitReport) bool {
	requests, copies := sums(s.Arms)
	return requests >= uint64(s.Answers.OK) && float64(copies) >= r.Asked*float64(s.Answers.OK)
}

// judge makes a verdict of what was counted.
func (r *mirrorReport) judge(s *splitReport) error {
	r.Answers, r.Limit = s.Answers, limit
	r.Requests, r.Copies = sums(s.Arms)
	within := min(r.Copies, r.Requests)
	r.Low, r.High = wilson(within, r.Requests)
	if r.Requests > 0 {
		r.Seen = float64(r.Copies) / float64(r.Requests)
	}
	share, err := gate.NewShare(r.Asked, 1)
	if err != nil {
		return err
	}
	share.Update(within, r.Requests-within)
	r.EValue = math.Min(share.Value(), 1e12) // JSON knows no infinity
	r.Needed = max(floor, silence(r.Asked, limit))
	r.decide()
	return nil
}

func (r *mirrorReport) decide() {
	why := func(format string, args ...any) { r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...)) }
	if lost := r.Answers.Sent - r.Answers.OK; lost > 0 {
		why("%d of %d requests were not answered with 2xx%s", lost, r.Answers.Sent, because(r.Answers.Problem))
		r.Next = "kubectl get pods -n " + r.Namespace
	}
	if missing := uint64(r.Answers.OK) - min(r.Requests, uint64(r.Answers.OK)); float64(missing) > strays*float64(r.Answers.OK) {
		why("%d of %d answers came from none of the rule's pools: another rule or route takes the requests", missing, r.Answers.OK)
		r.Next = "kubectl get httproutes -n " + r.Namespace + " -o wide"
	}
	if r.EValue >= limit {
		why("the seen part contradicts the asked one (e-value %s, limit %d)", number(r.EValue), limit)
		r.Next = "does this gateway copy requests, and a part of them? See docs/providers.md; kubectl get httproute -o yaml shows ResolvedRefs"
	}
	if float64(r.Copies) > float64(r.Requests)*(1+strays) {
		why("the shadow counted %d requests, the rule's pools only %d: it gets others, too", r.Copies, r.Requests)
		r.Next = "verify while nothing else sends to " + r.Shadow
	}
	switch {
	case len(r.Reasons) > 0:
		r.Verdict = gate.Fail
	case r.Requests < uint64(r.Needed):
		r.Verdict = gate.Inconclusive
		why("%d requests are too few: a mirror that copies nothing shows after %d", r.Requests, r.Needed)
		r.Next = fmt.Sprintf("--requests %d", r.Needed)
		if r.Passive {
			r.Next = "watch longer (--duration), or let requests be sent: leave out --passive"
		}
	default:
		r.Verdict = gate.Pass
	}
}

func printMirror(out io.Writer, r *mirrorReport) {
	fmt.Fprintf(out, "%s  %s/%s rule %s\n", headline(r.Verdict), r.Namespace, r.Target, r.Rule)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SHADOW\tASKED\tSEEN\t95% INTERVAL\tREQUESTS\tCOPIES")
	fmt.Fprintf(w, "%s\t%s\t%s\t%s to %s\t%d\t%d\n", r.Shadow, percent(r.Asked), percent(r.Seen), percent(r.Low), percent(r.High), r.Requests, r.Copies)
	_ = w.Flush()
	fmt.Fprintf(out, "share test  e-value %s of %d\n", number(r.EValue), limit)
	if !r.Passive {
		fmt.Fprintf(out, "answers     %d sent: HTTP %s\n", r.Answers.Sent, counted(r.Answers.Codes))
	}
	for _, reason := range r.Reasons {
		fmt.Fprintf(out, "why         %s\n", reason)
	}
	if r.Next != "" {
		fmt.Fprintf(out, "next        %s\n", r.Next)
	}
}
