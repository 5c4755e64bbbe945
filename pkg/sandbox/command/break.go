package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/podrunner"
)

// breaker changes the faults of model servers and waits until they are in effect.
type breaker struct {
	*cli
	client    kubernetes.Interface
	namespace string
	timeout   time.Duration
}

// target is a Deployment or a Pod.
type target struct{ kind, namespace, name string }

func (t target) String() string { return t.kind + "/" + t.name }

func (c *cli) breaks() *cobra.Command {
	var faults modelsim.Faults
	var reset bool
	b := &breaker{cli: c}
	cmd := &cobra.Command{
		Use:   "break deployment/NAME|pod/NAME...",
		Short: "Make simulated model servers slow, failing, hung or dead, and mend them",
		Long: `Sets the faults of simulated model servers and returns when they are in effect.
They replace earlier ones, hold until they are reset, also through restarts, and
can be seen in the annotation ` + podrunner.FaultsAnnotation + `.`,
		Example: `  kubectl infer sandbox break deployment/qwen-v2 --slow 4
  kubectl infer sandbox break deployment/qwen-v2 --error-rate 0.2
  kubectl infer sandbox break pod/qwen-v2-5f7d-x2x4z --dead
  kubectl infer sandbox break --reset deployment/qwen-v2
  kubectl infer sandbox break --reset`,
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := parseTargets(args, b.namespace)
			if err != nil {
				return usageError{err}
			}
			if err := checkFaults(faults, reset, len(targets)); err != nil {
				return usageError{err}
			}
			return b.do(cmd.Context(), targets, faults)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&faults.SlowFactor, "slow", 0, "multiply every latency by this, 1 to 1000")
	f.Float64Var(&faults.ErrorRate, "error-rate", 0, "answer this share of requests with 500, 0 to 1")
	f.BoolVar(&faults.Hang, "hang", false, "accept requests and answer none")
	f.BoolVar(&faults.Dead, "dead", false, "kill the process and keep it down")
	f.BoolVar(&reset, "reset", false, "mend the targets, or everything when none is named")
	f.StringVarP(&b.namespace, "namespace", "n", "default", "namespace of the targets")
	f.DurationVar(&b.timeout, "timeout", 30*time.Second, "how long to wait until the faults are in effect")
	return cmd
}

func parseTargets(args []string, namespace string) ([]target, error) {
	var targets []target
	for _, arg := range args {
		kind, name, _ := strings.Cut(arg, "/")
		switch strings.TrimSuffix(kind, "s") {
		case "deployment", "deploy", "deployment.app":
			kind = "deployment"
		case "pod", "po":
			kind = "pod"
		default:
			name = ""
		}
		if name == "" {
			return nil, hint.Errorf("write deployment/NAME or pod/NAME", "target %q is neither a deployment nor a pod", arg)
		}
		targets = append(targets, target{kind: kind, namespace: namespace, name: name})
	}
	return targets, nil
}

// checkFaults wants exactly one of faults and --reset, and a target to break.
func checkFaults(faults modelsim.Faults, reset bool, targets int) error {
	const see = "see kubectl infer sandbox break --help"
	if err := faults.Validate(); err != nil {
		return hint.Wrap(err, see)
	}
	broken := faults != modelsim.Faults{}
	switch {
	case broken && reset:
		return hint.Errorf(see, "--reset does not go with a fault")
	case !broken && !reset:
		return hint.Errorf(see, "no fault given")
	case broken && targets == 0:
		return hint.Errorf("name one, as in deployment/qwen-v2", "no target given")
	}
	return nil
}

func (b *breaker) do(ctx context.Context, targets []target, faults modelsim.Faults) error {
	state, err := b.findRunning()
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", state.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", state.Kubeconfig, err)
	}
	if b.client, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("make client for sandbox %q: %w", state.Name, err)
	}
	if len(targets) == 0 {
		if targets, err = b.broken(ctx); err != nil {
			return err
		}
		if len(targets) == 0 {
			fmt.Fprintln(b.ErrOut, "nothing is broken")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	for _, t := range targets {
		if err := b.annotate(ctx, t, faults); err != nil {
			return err
		}
	}
	for _, t := range targets {
		n, err := b.await(ctx, t, faults)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.Out, "%s %s (%d pods)\n", t, describeFaults(faults), n)
	}
	return nil
}

// broken lists everything that carries faults, in every namespace.
func (b *breaker) broken(ctx context.Context) ([]target, error) {
	var targets []target
	deployments, err := b.client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list deployments: %w", err)
	}
	for _, d := range deployments.Items {
		if _, ok := d.Annotations[podrunner.FaultsAnnotation]; ok {
			targets = append(targets, target{"deployment", d.Namespace, d.Name})
		}
	}
	pods, err := b.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	for _, p := range pods.Items {
		if _, ok := p.Annotations[podrunner.FaultsAnnotation]; ok {
			targets = append(targets, target{"pod", p.Namespace, p.Name})
		}
	}
	return targets, nil
}

// annotate writes the faults; healthy ones remove the annotation.
func (b *breaker) annotate(ctx context.Context, t target, faults modelsim.Faults) error {
	var value any
	if (faults != modelsim.Faults{}) {
		text, err := json.Marshal(faults)
		if err != nil {
			return err
		}
		value = string(text)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{podrunner.FaultsAnnotation: value}}})
	if err != nil {
		return err
	}
	switch t.kind {
	case "pod":
		_, err = b.client.CoreV1().Pods(t.namespace).Patch(ctx, t.name, types.MergePatchType, patch, metav1.PatchOptions{})
	default:
		_, err = b.client.AppsV1().Deployments(t.namespace).Patch(ctx, t.name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if apierrors.IsNotFound(err) {
		return hint.Errorf(fmt.Sprintf("kubectl get %ss -n %s", t.kind, t.namespace), "no %s in namespace %s", t, t.namespace)
	}
	if err != nil {
		return fmt.Errorf("annotate %s: %w", t, err)
	}
	return nil
}

// await returns the number of Pods once the faults are in effect in all of them.
func (b *breaker) await(ctx context.Context, t target, faults modelsim.Faults) (int, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		pods, err := b.pods(ctx, t)
		if err != nil {
			return 0, err
		}
		waitFor := ""
		for i := range pods {
			if waitFor = pending(ctx, &pods[i], faults); waitFor != "" {
				break
			}
		}
		if waitFor == "" {
			return len(pods), nil
		}
		select {
		case <-ctx.Done():
			return 0, hint.Errorf("kubectl infer sandbox logs supervisor", "wait until %s %s: %w (%s)", t, describeFaults(faults), ctx.Err(), waitFor)
		case <-tick.C:
		}
	}
}

// pods are the target's, without those that have a word of their own.
func (b *breaker) pods(ctx context.Context, t target) ([]corev1.Pod, error) {
	if t.kind == "pod" {
		p, err := b.client.CoreV1().Pods(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", t, err)
		}
		return []corev1.Pod{*p}, nil
	}
	d, err := b.client.AppsV1().Deployments(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", t, err)
	}
	list, err := b.client.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", t, err)
	}
	return own(d, list.Items), nil
}

func own(d *appsv1.Deployment, all []corev1.Pod) []corev1.Pod {
	var pods []corev1.Pod
	for _, p := range all {
		_, spoken := p.Annotations[podrunner.FaultsAnnotation]
		if metav1.IsControlledBy(&p, d) && p.DeletionTimestamp == nil && !spoken {
			pods = append(pods, p)
		}
	}
	return pods
}

// pending says what is still missing until a Pod shows the faults, or "".
func pending(ctx context.Context, pod *corev1.Pod, faults modelsim.Faults) string {
	if len(pod.Status.ContainerStatuses) == 0 {
		return "pod " + pod.Name + " has not started"
	}
	if faults.Dead {
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Running != nil || c.Ready {
				return "pod " + pod.Name + " still runs"
			}
		}
		return ""
	}
	url := podrunner.FaultsURL(pod)
	if url != "" {
		now, err := podrunner.GetFaults(ctx, url)
		if err != nil {
			return fmt.Sprintf("pod %s does not answer: %v", pod.Name, err)
		}
		if now != faults {
			return "pod " + pod.Name + " " + describeFaults(now)
		}
	}
	if (faults == modelsim.Faults{}) {
		for _, c := range pod.Status.ContainerStatuses {
			if !c.Ready {
				return "pod " + pod.Name + " is not ready"
			}
		}
	}
	return ""
}

// describeFaults reads as a predicate: "is slower by 4x and hangs".
func describeFaults(f modelsim.Faults) string {
	var parts []string
	if f.SlowFactor > 1 {
		parts = append(parts, fmt.Sprintf("is %gx slower", f.SlowFactor))
	}
	if f.ErrorRate > 0 {
		parts = append(parts, fmt.Sprintf("fails %g%% of requests", 100*f.ErrorRate))
	}
	if f.Hang {
		parts = append(parts, "hangs")
	}
	if f.Dead {
		parts = append(parts, "is dead")
	}
	if len(parts) == 0 {
		return "is healthy"
	}
	return strings.Join(parts, " and ")
}
