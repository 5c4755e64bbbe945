package leftovers

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
)

// leftover is one object of ours, or one stamp on somebody's.
type leftover struct {
	resource   schema.GroupVersionResource
	object     string
	uid        types.UID
	version    *string // of a journal, which may not change between look and deletion
	name       string  // as kubectl prints it
	madeBy     string
	state      string
	stamp      bool
	kept       string // why delete leaves it; the words of a note
	unfinished bool
}

// find reads all that we may have made in the namespace: journals first, then
// what else has the label, then the stamps.
func find(ctx context.Context, clients *kube.Clients) ([]leftover, error) {
	var found []leftover
	for _, at := range apply.Resources() {
		list, err := read(ctx, clients, at, scaffold.ManagedBy+"="+scaffold.Manager)
		if apierrors.IsForbidden(err) && at.Resource != "configmaps" { // without the journals nothing is safe
			found = append(found, leftover{name: at.GroupResource().String(), state: "may not be listed", kept: "may not be listed: what is there of ours stays"})
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range list {
			found = append(found, made(at, &list[i]))
		}
	}
	wide, err := ofCluster(ctx, clients)
	if err != nil {
		return nil, err
	}
	found = append(found, wide...)
	for _, at := range []schema.GroupVersionResource{kube.HTTPRoutes(), kube.InferenceModels(), kube.ModelRewrites(), kube.LLMDModelRewrites()} {
		list, err := read(ctx, clients, at, "")
		if err != nil {
			return nil, err
		}
		for i := range list {
			if stamp := list[i].GetAnnotations()[target.StampAnnotation]; stamp != "" {
				found = append(found, leftover{name: apply.Name(&list[i]), madeBy: "canary", state: "carries the stamp of a rollout: " + stamp, stamp: true})
			}
		}
	}
	return found, nil
}

// ofCluster are objects of the whole cluster that we made. Others may need them,
// so delete only tells of them.
func ofCluster(ctx context.Context, clients *kube.Clients) ([]leftover, error) {
	var found []leftover
	for _, at := range apply.ClusterResources() {
		list, err := clients.Dynamic.Resource(at).List(ctx, metav1.ListOptions{LabelSelector: scaffold.ManagedBy + "=" + scaffold.Manager})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", at.Resource, err)
		}
		for i := range list.Items {
			name := apply.Name(&list.Items[i])
			found = append(found, leftover{
				name: name, madeBy: list.Items[i].GetLabels()[scaffold.CreatedBy], state: "of the whole cluster",
				kept: "is of the whole cluster and stays: kubectl delete " + name,
			})
		}
	}
	return found, nil
}

// read lists one kind; a kind that is not installed has no objects.
func read(ctx context.Context, clients *kube.Clients, at schema.GroupVersionResource, selector string) ([]unstructured.Unstructured, error) {
	list, err := clients.Dynamic.Resource(at).Namespace(clients.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s in namespace %s: %w", at.Resource, clients.Namespace, err)
	}
	return list.Items, nil
}

// made is an object with our label. A journal that cannot be read counts as
// unfinished.
func made(at schema.GroupVersionResource, o *unstructured.Unstructured) leftover {
	f := leftover{resource: at, object: o.GetName(), uid: o.GetUID(), name: apply.Name(o), madeBy: o.GetLabels()[scaffold.CreatedBy]}
	if f.madeBy == "" {
		f.madeBy = "canary"
	}
	if o.GetAnnotations()[target.StampAnnotation] != "" {
		f.unfinished, f.state = true, "a rollout is moving its weights, or left its stamp"
	}
	data, _, _ := unstructured.NestedStringMap(o.Object, "data")
	if at.Resource != "configmaps" || data[journal.RecordKey]+data[journal.MirrorKey] == "" {
		return f
	}
	version := o.GetResourceVersion()
	f.version = &version
	var states, by []string
	for _, run := range []struct {
		by, record string
		state      func(record string) (string, bool, error)
	}{{"canary", data[journal.RecordKey], canaryState}, {"mirror", data[journal.MirrorKey], mirrorState}} {
		if run.record == "" {
			continue
		}
		state, unfinished, err := run.state(run.record)
		if err != nil {
			state, unfinished = "a journal that cannot be read: "+err.Error(), true
		}
		f.unfinished = f.unfinished || unfinished
		states, by = append(states, state), append(by, run.by)
	}
	f.madeBy = strings.Join(by, ", ")
	f.state = strings.Join(states, "; ")
	return f
}

// canaryState is what a journal says of a canary.
func canaryState(record string) (state string, unfinished bool, err error) {
	read, err := journal.Decode([]byte(record))
	state = strings.ToLower(fmt.Sprintf("rollout of %s: %s at %s", read.Plan.Target, read.Phase, read.Goal))
	if read.Unwanted() {
		state += fmt.Sprintf(", with adapter %s still loaded on %d pods", read.Loaded.Name, len(read.Loaded.Pods))
	}
	return state, !read.Phase.Finished() || read.Unwanted(), err
}

// mirrorState is what a journal says of a mirror.
func mirrorState(record string) (state string, unfinished bool, err error) {
	read, err := journal.DecodeMirror([]byte(record))
	return strings.ToLower(fmt.Sprintf("mirror of %s to %s: %s", read.Plan.Target, read.Plan.Shadow, read.Phase)), read.Phase != mirror.Done, err
}
