package gateway

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// objectKey names an HTTPRoute or a Gateway: what Envoy may refuse by itself.
type objectKey struct {
	kind string
	types.NamespacedName
}

const (
	kindRoute   = "HTTPRoute"
	kindGateway = "Gateway"
)

// hold keeps an object that Envoy refused out of its configuration.
type hold struct {
	generation int64
	uid        types.UID
	words      string // Envoy's
}

// holds are the objects that Envoy refused, each at one generation.
type holds map[objectKey]hold

func (h holds) covers(kind string, o metav1.Object) bool {
	one, held := h[keyOf(kind, o)]
	return held && one.generation == o.GetGeneration() && one.uid == o.GetUID()
}

func keyOf(kind string, o metav1.Object) objectKey {
	return objectKey{kind, types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}}
}

// served remembers the HTTPRoutes and Gateways that Envoy last acknowledged.
type served struct {
	routes   map[objectKey]*gwv1.HTTPRoute
	gateways map[objectKey]*gwv1.Gateway
}

func servedOf(o translate.Objects) served {
	s := served{routes: map[objectKey]*gwv1.HTTPRoute{}, gateways: map[objectKey]*gwv1.Gateway{}}
	for _, r := range o.Routes {
		s.routes[keyOf(kindRoute, r)] = r
	}
	for _, gw := range o.Gateways {
		s.gateways[keyOf(kindGateway, gw)] = gw
	}
	return s
}

// changed lists what in o is not as it was served, sorted.
func (s served) changed(o translate.Objects) []objectKey {
	var keys []objectKey
	for _, r := range o.Routes {
		if old := s.routes[keyOf(kindRoute, r)]; old == nil || old.Generation != r.Generation || old.UID != r.UID {
			keys = append(keys, keyOf(kindRoute, r))
		}
	}
	for _, gw := range o.Gateways {
		if old := s.gateways[keyOf(kindGateway, gw)]; old == nil || old.Generation != gw.Generation || old.UID != gw.UID {
			keys = append(keys, keyOf(kindGateway, gw))
		}
	}
	slices.SortFunc(keys, func(a, b objectKey) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return keys
}

// without is o with the named objects as they were served, or left out if they
// never were.
func (s served) without(o translate.Objects, keys map[objectKey]bool) translate.Objects {
	out := o
	out.Routes, out.Gateways = nil, nil
	for _, r := range o.Routes {
		key := keyOf(kindRoute, r)
		if keys[key] {
			r = s.routes[key]
		}
		if r != nil {
			out.Routes = append(out.Routes, r)
		}
	}
	for _, gw := range o.Gateways {
		key := keyOf(kindGateway, gw)
		if keys[key] {
			gw = s.gateways[key]
		}
		if gw != nil {
			out.Gateways = append(out.Gateways, gw)
		}
	}
	return out
}

// current drops the holds on objects that have changed or gone, and answers
// the keys of the others.
func (h holds) current(o translate.Objects) map[objectKey]bool {
	keys := map[objectKey]bool{}
	for _, r := range o.Routes {
		if h.covers(kindRoute, r) {
			keys[keyOf(kindRoute, r)] = true
		}
	}
	for _, gw := range o.Gateways {
		if h.covers(kindGateway, gw) {
			keys[keyOf(kindGateway, gw)] = true
		}
	}
	maps.DeleteFunc(h, func(key objectKey, _ hold) bool { return !keys[key] })
	return keys
}

// isolate finds which of the changed objects Envoy refuses, by halves, and
// holds them; everything else is served. It reports false when Envoy refuses
// even the state without any of them.
func (g *Gateway) isolate(ctx context.Context, server *xds.Server, objects translate.Objects) (bool, error) {
	out := g.holds.current(objects)
	suspects := g.served.changed(objects)
	suspects = slices.DeleteFunc(suspects, func(key objectKey) bool { return out[key] })
	for _, key := range suspects {
		out[key] = true
	}
	if refused, err := g.offer(ctx, server, objects, out); err != nil || refused != nil {
		return false, err
	}
	if err := g.readmit(ctx, server, objects, out, suspects); err != nil {
		return false, err
	}
	return true, nil
}

// readmit takes suspects out of out, all or each half on its own, and holds
// what Envoy refuses.
func (g *Gateway) readmit(ctx context.Context, server *xds.Server, objects translate.Objects, out map[objectKey]bool, suspects []objectKey) error {
	if len(suspects) == 0 {
		return nil
	}
	for _, key := range suspects {
		delete(out, key)
	}
	refused, err := g.offer(ctx, server, objects, out)
	if err != nil || refused == nil {
		return err
	}
	for _, key := range suspects {
		out[key] = true
	}
	if len(suspects) == 1 {
		g.hold(objects, suspects[0], refused.Message)
		return nil
	}
	half := len(suspects) / 2
	return errors.Join(
		g.readmit(ctx, server, objects, out, suspects[:half]),
		g.readmit(ctx, server, objects, out, suspects[half:]))
}

func (g *Gateway) hold(o translate.Objects, key objectKey, words string) {
	add := func(o metav1.Object) {
		g.holds[key] = hold{generation: o.GetGeneration(), uid: o.GetUID(), words: words}
	}
	for _, r := range o.Routes {
		if keyOf(kindRoute, r) == key {
			add(r)
		}
	}
	for _, gw := range o.Gateways {
		if keyOf(kindGateway, gw) == key {
			add(gw)
		}
	}
	if g.said[key] != words {
		g.said[key] = words
		g.options.Log.Error("Envoy refused an object; what it served before stays", "kind", key.kind, "name", key.String(), "reason", words)
	}
}

// offer pushes objects less those in out; the RefusedError is Envoy's no.
func (g *Gateway) offer(ctx context.Context, server *xds.Server, objects translate.Objects, out map[objectKey]bool) (*xds.RefusedError, error) {
	objects = g.served.without(objects, out)
	ir, _ := translate.Translate(objects)
	snapshot, err := xds.Render(ir, g.settings)
	if err != nil {
		return nil, err
	}
	if snapshot.Version != g.version {
		var refused *xds.RefusedError
		err := g.push(ctx, server, snapshot)
		if errors.As(err, &refused) {
			return refused, nil
		}
		if err != nil {
			return nil, err
		}
	}
	g.served = servedOf(objects)
	return nil, nil
}

// heldStatuses says on each held object what Envoy's words were.
func heldStatuses(s translate.Statuses, all holds) {
	for key, h := range all {
		message := "Envoy refused it, what was served before stays: " + h.words
		if key.kind == kindGateway {
			refuseGateway(s.Gateways[key.NamespacedName], message)
			continue
		}
		for _, parent := range s.Routes[key.NamespacedName] {
			refuse(parent.Conditions, string(gwv1.RouteConditionAccepted), string(gwv1.RouteReasonUnsupportedValue), message)
		}
	}
}

func refuseGateway(status gwv1.GatewayStatus, message string) {
	refuse(status.Conditions, string(gwv1.GatewayConditionProgrammed), string(gwv1.GatewayReasonInvalid), message)
	for _, l := range status.Listeners {
		refuse(l.Conditions, string(gwv1.ListenerConditionProgrammed), string(gwv1.ListenerReasonInvalid), message)
	}
}

// refuse turns a condition that is True.
func refuse(conditions []metav1.Condition, kind, reason, message string) {
	for i := range conditions {
		if c := &conditions[i]; c.Type == kind && c.Status == metav1.ConditionTrue {
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, reason, message
		}
	}
}
