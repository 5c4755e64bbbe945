// Package collect takes the snapshot of a cluster that doctor, get and top look
// at: Objects reads objects, Pools a part of them, Cluster what is of no namespace,
// Ask asks pods, Gates finds their buckets, Rights asks what the user may do.
//
// A kind that is not installed has no objects. One that the user may not read is
// named in Snapshot.Unread, so that nothing is concluded from its absence; any
// other error ends the collection.
package collect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-infer/kubectl-infer/pkg/doctor"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

// pageSize bounds one answer of the API server.
const pageSize = 500

// collector reads into a snapshot.
type collector struct {
	clients   *kube.Clients
	namespace string // "" for all
	s         doctor.Snapshot
}

// Objects reads the objects of a namespace, "" for all: routes, pools, models,
// pods, services, rollouts, and the Gateways that routes name.
func Objects(ctx context.Context, clients *kube.Clients, namespace string) (doctor.Snapshot, error) {
	c := newCollector(clients, namespace)
	return c.all(ctx, c.routes, c.pools, c.models, c.core, c.rollouts, c.gateways)
}

// Pools reads no more than pools, pods and services.
func Pools(ctx context.Context, clients *kube.Clients, namespace string) (doctor.Snapshot, error) {
	c := newCollector(clients, namespace)
	return c.all(ctx, c.pools, c.core)
}

func newCollector(clients *kube.Clients, namespace string) *collector {
	c := &collector{clients: clients, namespace: namespace, s: doctor.Snapshot{Now: time.Now()}}
	if namespace != "" {
		c.s.Namespaces = []string{namespace}
	}
	return c
}

func (c *collector) all(ctx context.Context, reads ...func(context.Context) error) (doctor.Snapshot, error) {
	for _, read := range reads {
		if err := read(ctx); err != nil {
			return doctor.Snapshot{}, err
		}
	}
	return c.s, nil
}

// where says which namespace a list is of, for messages.
func where(namespace string) string {
	if namespace == "" {
		return "all namespaces"
	}
	return "namespace " + namespace
}

// missed sorts an error: nil for a kind that is not there, or not ours to read.
func (c *collector) missed(resource, namespace string, err error) error {
	switch {
	case err == nil || apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err):
		c.s.Unread = append(c.s.Unread, doctor.Unread{Resource: resource, Namespace: namespace, Why: err.Error()})
		return nil
	}
	return fmt.Errorf("list %s in %s: %w", resource, where(namespace), err)
}

// list reads all objects of a kind, in pages.
func (c *collector) list(ctx context.Context, at schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	options := metav1.ListOptions{Limit: pageSize}
	for {
		var list *unstructured.UnstructuredList
		var err error
		if namespace == "" {
			list, err = c.clients.Dynamic.Resource(at).List(ctx, options)
		} else {
			list, err = c.clients.Dynamic.Resource(at).Namespace(namespace).List(ctx, options)
		}
		if err != nil {
			return nil, c.missed(at.Resource, namespace, err)
		}
		all = append(all, list.Items...)
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return all, nil
		}
	}
}

func typed[T any](object *unstructured.Unstructured) (T, error) {
	var into T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &into); err != nil {
		return into, fmt.Errorf("read %s %s/%s: %w", strings.ToLower(object.GetKind()), object.GetNamespace(), object.GetName(), err)
	}
	return into, nil
}

func (c *collector) routes(ctx context.Context) error {
	list, err := c.list(ctx, kube.HTTPRoutes(), c.namespace)
	for i := range list {
		route, err := typed[gatewayv1.HTTPRoute](&list[i])
		if err != nil {
			return err
		}
		owner := target.OwnerOf(&list[i])
		c.s.Routes = append(c.s.Routes, doctor.Route{
			HTTPRoute: route, StampRun: target.StampedRun(list[i].GetAnnotations()[target.StampAnnotation]),
			Owner: doctor.Owner{Tool: owner.Tool, Sign: owner.Sign, Suspend: owner.Suspend, Others: owner.Others},
		})
	}
	return err
}

func (c *collector) pools(ctx context.Context) error {
	for _, at := range []schema.GroupVersionResource{kube.InferencePools(), kube.AlphaInferencePools()} {
		list, err := c.list(ctx, at, c.namespace)
		if err != nil {
			return err
		}
		for i := range list {
			p, err := readPool(&list[i], at.Group)
			if err != nil {
				return err
			}
			c.s.Pools = append(c.s.Pools, p)
		}
	}
	return nil
}

func readPool(object *unstructured.Unstructured, group string) (doctor.Pool, error) {
	pool, picker, err := evidence.ReadPool(object)
	if err != nil {
		return doctor.Pool{}, err
	}
	p := doctor.Pool{PoolKey: doctor.PoolKey{Group: group, Namespace: pool.Namespace, Name: pool.Name}, Picker: picker, Ports: pool.Ports, FailClose: true}
	p.Selector, _, _ = unstructured.NestedStringMap(object.Object, "spec", "selector", "matchLabels")
	if group == kube.AlphaInferencePools().Group {
		p.Selector, _, _ = unstructured.NestedStringMap(object.Object, "spec", "selector")
	}
	for _, field := range []string{"endpointPickerRef", "extensionRef"} {
		if mode, _, _ := unstructured.NestedString(object.Object, "spec", field, "failureMode"); mode == "FailOpen" {
			p.FailClose = false
		}
	}
	return p, nil
}

func (c *collector) models(ctx context.Context) error {
	for _, kind := range target.Kinds() {
		if kind.Resource == kube.HTTPRoutes() {
			continue
		}
		list, err := c.list(ctx, kind.Resource, c.namespace)
		if err != nil {
			return err
		}
		for i := range list {
			c.s.Models = append(c.s.Models, readModels(kind, &list[i]))
		}
	}
	return nil
}

func readModels(kind target.Kind, object *unstructured.Unstructured) doctor.Models {
	pool := evidence.PoolOf(object)
	m := doctor.Models{
		Type: kind.Name, Namespace: object.GetNamespace(), Name: object.GetName(), Created: object.GetCreationTimestamp().Time,
		Pool:     doctor.PoolKey{Group: pool.Group, Namespace: object.GetNamespace(), Name: pool.Name},
		Claims:   evidence.Claims(object),
		StampRun: target.StampedRun(object.GetAnnotations()[target.StampAnnotation]),
	}
	for _, split := range kind.Splits(object) {
		rule := doctor.Rule{Label: split.Rule}
		for _, share := range split.Shares {
			rule.Targets = append(rule.Targets, doctor.Target{Name: share.Name, Weight: share.Weight, Unset: share.Unset})
		}
		m.Rules = append(m.Rules, rule)
	}
	if kind.Resource != kube.InferenceModels() {
		m.Rules = append(m.Rules, dropped(object, len(m.Rules))...)
	} else if len(m.Rules) == 1 && len(m.Rules[0].Targets) == 0 { // the model itself
		m.Rules[0].Targets = []doctor.Target{{Name: m.Claims[0], Weight: 1, Unset: true}}
	}
	return m
}

// dropped are the rules of a rewrite whose list of targets the API server did
// not keep.
func dropped(object *unstructured.Unstructured, kept int) []doctor.Rule {
	rules, _, _ := unstructured.NestedSlice(object.Object, "spec", "rules")
	var none []doctor.Rule
	for i, rule := range rules {
		m, _ := rule.(map[string]any)
		if m["split"] == nil && m["targets"] == nil {
			none = append(none, doctor.Rule{Label: fmt.Sprint(i)})
		}
	}
	return none[:min(len(none), len(rules)-kept)]
}

// core reads pods and services.
func (c *collector) core(ctx context.Context) error {
	api := c.clients.Core.CoreV1()
	options := metav1.ListOptions{Limit: pageSize}
	for {
		pods, err := api.Pods(c.namespace).List(ctx, options)
		if err != nil {
			if err := c.missed("pods", c.namespace, err); err != nil {
				return err
			}
			break
		}
		c.s.Pods = append(c.s.Pods, pods.Items...)
		if options.Continue = pods.Continue; options.Continue == "" {
			break
		}
	}
	services, err := api.Services(c.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return c.missed("services", c.namespace, err)
	}
	c.s.Services = services.Items
	return nil
}

// rollouts reads journals, leases and adapter maps.
func (c *collector) rollouts(ctx context.Context) error {
	ours := metav1.ListOptions{LabelSelector: journal.ManagedBy + "=" + journal.Manager}
	maps, err := c.clients.Core.CoreV1().ConfigMaps(c.namespace).List(ctx, ours)
	if err != nil {
		return c.missed("configmaps", c.namespace, err)
	}
	for i := range maps.Items {
		raw := maps.Items[i].Data[journal.RecordKey]
		if raw == "" {
			continue
		}
		j := doctor.Journal{Namespace: maps.Items[i].Namespace, Name: maps.Items[i].Name}
		if j.Record, err = journal.Decode([]byte(raw)); err != nil {
			j.Problem = err.Error()
		}
		c.s.Journals = append(c.s.Journals, j)
	}
	leases, err := c.clients.Core.CoordinationV1().Leases(c.namespace).List(ctx, ours)
	if err != nil {
		return c.missed("leases", c.namespace, err)
	}
	c.s.Leases = leases.Items
	return c.adapters(ctx)
}

// adapters reads the ConfigMaps that body routers read, under either label
// (package bodyrouter/adapters).
func (c *collector) adapters(ctx context.Context) error {
	seen := map[string]bool{}
	var found []corev1.ConfigMap
	for _, label := range []string{"inference.networking.k8s.io/bbr-managed=true", "inference.llm-d.ai/ipp-managed=true"} {
		list, err := c.clients.Core.CoreV1().ConfigMaps(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: label})
		if err != nil {
			return c.missed("configmaps", c.namespace, err)
		}
		for _, m := range list.Items {
			if !seen[m.Namespace+"/"+m.Name] {
				seen[m.Namespace+"/"+m.Name] = true
				found = append(found, m)
			}
		}
	}
	slices.SortFunc(found, func(a, b corev1.ConfigMap) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	for _, m := range found {
		a := doctor.Adapters{Namespace: m.Namespace, Name: m.Name, Base: m.Data["baseModel"]}
		if yaml.Unmarshal([]byte(m.Data["adapters"]), &a.Names) == nil {
			c.s.Adapters = append(c.s.Adapters, a)
		}
	}
	return nil
}

// gateways reads those of the namespace and those that routes name.
func (c *collector) gateways(ctx context.Context) error {
	list, err := c.list(ctx, kube.Gateways(), c.namespace)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for i := range list {
		have[list[i].GetNamespace()+"/"+list[i].GetName()] = true
	}
	for _, route := range c.s.Routes {
		for _, ref := range route.Spec.ParentRefs {
			namespace := route.Namespace
			if ref.Namespace != nil {
				namespace = string(*ref.Namespace)
			}
			key := namespace + "/" + string(ref.Name)
			if have[key] || (ref.Kind != nil && *ref.Kind != "Gateway") || c.namespace == "" || namespace == c.namespace {
				continue
			}
			have[key] = true
			object, err := c.clients.Dynamic.Resource(kube.Gateways()).Namespace(namespace).Get(ctx, string(ref.Name), metav1.GetOptions{})
			if err == nil {
				list = append(list, *object)
			} else if err := c.missed("gateways", namespace, err); err != nil {
				return err
			}
		}
	}
	for i := range list {
		g, err := typed[gatewayv1.Gateway](&list[i])
		if err != nil {
			return err
		}
		c.s.Gateways = append(c.s.Gateways, g)
	}
	return nil
}
