package command

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/podrunner"
)

// target is a Deployment, a Pod, or until expand an InferencePool.
type target struct {
	kind, namespace, name string

	faults string // what broken found in the annotation
}

func (t target) String() string { return t.kind + "/" + t.name }

func parseTargets(args []string, namespace string) ([]target, error) {
	var targets []target
	for _, arg := range args {
		kind, name, _ := strings.Cut(arg, "/")
		switch strings.TrimSuffix(kind, "s") {
		case "deployment", "deploy", "deployment.app":
			kind = "deployment"
		case "pod", "po":
			kind = "pod"
		case "inferencepool", "pool", "inferencepools.inference.networking.k8s.io", "inferencepool.inference.networking.k8s.io":
			kind = "inferencepool"
		default:
			name = ""
		}
		if name == "" {
			return nil, hint.Errorf("write deployment/NAME, pod/NAME or inferencepool/NAME", "target %q is none of deployment, pod and inferencepool", arg)
		}
		targets = append(targets, target{kind: kind, namespace: namespace, name: name})
	}
	return targets, nil
}

// expand turns pools and shares into what carries the annotation. To mend, it
// is everything of a target that may: its Deployments, and its Pods with a word
// of their own.
func (b *breaker) expand(ctx context.Context, targets []target, mend bool) ([]target, error) {
	var expanded []target
	for _, t := range targets {
		if t.kind == "pod" || t.kind == "deployment" && !mend && b.share == 1 {
			expanded = append(expanded, t)
			continue
		}
		pods, err := b.members(ctx, t)
		if err != nil {
			return nil, err
		}
		if len(pods) == 0 && t.kind == "inferencepool" {
			return nil, hint.Errorf("kubectl get pods -n "+t.namespace+" --show-labels", "%s selects no pod", t)
		}
		if t.kind == "deployment" && mend {
			expanded = append(expanded, t)
		}
		expanded = append(expanded, carriers(pods, b.share, mend)...)
	}
	slices.SortFunc(expanded, func(a, b target) int { return strings.Compare(a.kind+a.namespace+a.name, b.kind+b.namespace+b.name) })
	return slices.Compact(expanded), nil
}

// carriers decides which of some Pods, or of their Deployments, get the annotation.
func carriers(pods []corev1.Pod, share float64, mend bool) []target {
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	if !mend && share < 1 {
		pods = pods[:int(math.Ceil(share*float64(len(pods))))]
	}
	var targets []target
	for _, p := range pods {
		_, spoken := p.Annotations[podrunner.FaultsAnnotation]
		owner := metav1.GetControllerOf(&p)
		owned := owner != nil && owner.Kind == "Deployment"
		if owned && (mend || share == 1) {
			targets = append(targets, target{kind: "deployment", namespace: p.Namespace, name: owner.Name})
		}
		if !owned || mend && spoken || !mend && share < 1 {
			targets = append(targets, target{kind: "pod", namespace: p.Namespace, name: p.Name})
		}
	}
	return targets
}

// members lists the Pods of a Deployment or a pool that are not on their way out.
func (b *breaker) members(ctx context.Context, t target) ([]corev1.Pod, error) {
	selector, owner, err := b.selector(ctx, t)
	if apierrors.IsNotFound(err) {
		return nil, hint.Errorf(fmt.Sprintf("kubectl get %ss -n %s", t.kind, t.namespace), "no %s in namespace %s", t, t.namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", t, err)
	}
	list, err := b.client.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", t, err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.DeletionTimestamp != nil || owner != nil && !metav1.IsControlledBy(&p, owner)
	}), nil
}

// selector reads a target's; owner is nil for what only selects.
func (b *breaker) selector(ctx context.Context, t target) (string, metav1.Object, error) {
	if t.kind == "deployment" {
		d, err := b.client.AppsV1().Deployments(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
		if err != nil {
			return "", nil, err
		}
		return metav1.FormatLabelSelector(d.Spec.Selector), d, nil
	}
	pools := schema.GroupVersionResource{Group: "inference.networking.k8s.io", Version: "v1", Resource: "inferencepools"}
	pool, err := b.dynamic.Resource(pools).Namespace(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
	if err != nil {
		return "", nil, err
	}
	match, _, err := unstructured.NestedStringMap(pool.Object, "spec", "selector", "matchLabels")
	return labels.SelectorFromSet(match).String(), nil, err
}

// broken lists everything that carries faults, in every namespace.
func (b *breaker) broken(ctx context.Context) ([]target, error) {
	var targets []target
	deployments, err := b.client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list deployments: %w", err)
	}
	for _, d := range deployments.Items {
		if faults, ok := d.Annotations[podrunner.FaultsAnnotation]; ok {
			targets = append(targets, target{kind: "deployment", namespace: d.Namespace, name: d.Name, faults: faults})
		}
	}
	pods, err := b.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	for _, p := range pods.Items {
		if faults, ok := p.Annotations[podrunner.FaultsAnnotation]; ok {
			targets = append(targets, target{kind: "pod", namespace: p.Namespace, name: p.Name, faults: faults})
		}
	}
	return targets, nil
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
	all, err := b.members(ctx, t)
	return slices.DeleteFunc(all, func(p corev1.Pod) bool {
		_, spoken := p.Annotations[podrunner.FaultsAnnotation]
		return spoken
	}), err
}
