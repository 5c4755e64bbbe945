package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
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
	dynamic   dynamic.Interface
	namespace string
	share     float64 // of each target's Pods
	timeout   time.Duration
}

func (c *cli) breaks() *cobra.Command {
	var faults modelsim.Faults
	var reset bool
	b := &breaker{cli: c}
	cmd := &cobra.Command{
		Use:   "break deployment/NAME|pod/NAME|inferencepool/NAME...",
		Short: "Make simulated model servers slow, failing, hung or dead, and mend them",
		Long: `Sets the faults of simulated model servers and returns when they are in effect.
They replace earlier ones, hold until they are reset, also through restarts, and
can be seen in the annotation ` + podrunner.FaultsAnnotation + `. A pool
stands for the Deployments of its Pods. With --pods the first of the Pods by
name are broken, and Pods that come later are not.`,
		Example: `  kubectl infer sandbox break deployment/qwen-v2 --slow 4
  kubectl infer sandbox break deployment/qwen-v2 --error-rate 0.2
  kubectl infer sandbox break inferencepool/qwen-v2 --hang --pods 0.5
  kubectl infer sandbox break deployment/qwen-v2 --slow 10 --share 0.1 --model my-adapter
  kubectl infer sandbox break "$(kubectl get pods -l app=qwen-v2 -o name | head -n 1)" --dead
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
			if !(b.share > 0 && b.share <= 1) {
				return usageError{hint.Errorf("give a share above 0 and up to 1, as in --pods 0.5", "--pods %g is no share", b.share)}
			}
			return b.do(cmd.Context(), targets, faults)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&faults.SlowFactor, "slow", 0, "multiply every latency by this, 1 to 1000")
	f.Float64Var(&faults.ErrorRate, "error-rate", 0, "answer this share of requests with 500, 0 to 1")
	f.BoolVar(&faults.Hang, "hang", false, "accept requests and answer none")
	f.BoolVar(&faults.Dead, "dead", false, "kill the process and keep it down")
	f.Float64Var(&faults.Share, "share", 0, "touch only this share of requests, 0 to 1 (0 is all)")
	f.StringVar(&faults.Model, "model", "", "touch only requests for this target model: a served name or an adapter")
	f.Float64Var(&b.share, "pods", 1, "touch only this share of each target's Pods, at least one")
	f.BoolVar(&reset, "reset", false, "mend the targets, or everything when none is named")
	f.StringVarP(&b.namespace, "namespace", "n", "default", "namespace of the targets")
	f.DurationVar(&b.timeout, "timeout", 30*time.Second, "how long to wait until the faults are in effect")
	return cmd
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
	if b.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("make client for sandbox %q: %w", state.Name, err)
	}
	if targets, err = b.expand(ctx, targets, faults == modelsim.Faults{}); err != nil {
		return err
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
	text := strings.Join(parts, " and ")
	if f.Share > 0 && f.Share < 1 {
		text += fmt.Sprintf(" for %g%% of requests", 100*f.Share)
	}
	if f.Model != "" {
		text += " for model " + f.Model
	}
	return text
}
