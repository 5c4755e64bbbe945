package target

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// patchAttempts bounds how often one call re-reads after a refused patch. A
// route whose metadata is written 50 times a second loses a whole-rule test
// rarely, because metadata is not in it; the bound only ends a hopeless loop.
const patchAttempts = 20

// HTTPRoute moves traffic between two backendRefs of one rule. It is used from
// one goroutine.
type HTTPRoute struct {
	client    dynamic.ResourceInterface
	name      string
	selection Selection
	baseline  Baseline
	stamp     string
	owner     Owner
}

// Baseline is what a rollout returns to: the rule exactly as it was found, and
// the object's identity. It is what the journal records.
type Baseline struct {
	UID       types.UID      `json:"uid"`
	Rule      map[string]any `json:"rule"`
	RuleIndex int            `json:"ruleIndex"`
	Annotated bool           `json:"annotated"`
	stable    int
	canary    int
}

// OpenHTTPRoute reads the route called name in namespace and records its rule
// as the baseline.
func OpenHTTPRoute(ctx context.Context, client dynamic.Interface, namespace, name string, sel Selection) (*HTTPRoute, error) {
	r := &HTTPRoute{client: client.Resource(kube.HTTPRoutes()).Namespace(namespace), name: name, selection: sel}
	route, err := r.get(ctx)
	if err != nil {
		return nil, err
	}
	p, err := locate(route, sel)
	if err != nil {
		return nil, err
	}
	rule, _ := rulesOf(route)[p.rule].(map[string]any)
	r.baseline = Baseline{
		UID: route.GetUID(), Rule: rule, RuleIndex: p.rule, Annotated: len(route.GetAnnotations()) > 0,
		stable: p.stable, canary: p.canary,
	}
	r.stamp = route.GetAnnotations()[StampAnnotation]
	r.owner = ownerOf(route)
	return r, nil
}

// ResumeHTTPRoute takes up a route whose baseline an earlier process recorded.
func ResumeHTTPRoute(client dynamic.Interface, namespace, name string, sel Selection, recorded json.RawMessage) (*HTTPRoute, error) {
	r := &HTTPRoute{client: client.Resource(kube.HTTPRoutes()).Namespace(namespace), name: name, selection: sel}
	if err := json.Unmarshal(recorded, &r.baseline); err != nil {
		return nil, fmt.Errorf("read recorded baseline of httproute %s/%s: %w", namespace, name, err)
	}
	r.baseline.Rule, _ = integers(r.baseline.Rule).(map[string]any)
	r.baseline.stable = indexOf(r.baseline.Rule, sel.Stable)
	r.baseline.canary = indexOf(r.baseline.Rule, sel.Canary)
	if r.baseline.stable < 0 {
		return nil, fmt.Errorf("recorded baseline of httproute %s/%s lacks backend %s", namespace, name, sel.Stable)
	}
	return r, nil
}

// integers turns the float64 of decoded JSON back into int64, the form
// unstructured objects use.
func integers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = integers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}

// Record is the baseline as the journal keeps it.
func (r *HTTPRoute) Record() (json.RawMessage, error) {
	raw, err := json.Marshal(r.baseline)
	if err != nil {
		return nil, fmt.Errorf("encode baseline of httproute %s: %w", r.name, err)
	}
	return raw, nil
}

// Digest identifies the baseline: the first 16 hex digits of the SHA-256 of
// its recorded form.
func (r *HTTPRoute) Digest() (string, error) {
	raw, err := r.Record()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}

// FoundStamp is the stamp the route carried when it was opened; "" if none.
func (r *HTTPRoute) FoundStamp() string { return r.stamp }

// Owner is whose the route was when it was opened.
func (r *HTTPRoute) Owner() Owner { return r.owner }

// BaselineShare is the canary's share at the baseline, in percent.
func (r *HTTPRoute) BaselineShare() float64 {
	return shareIn(r.baseline.Rule, place{stable: r.baseline.stable, canary: r.baseline.canary})
}

// Backends are the selected backendRefs as objects; canary is nil while the
// rule does not list it.
func (r *HTTPRoute) Backends() (stable, canary map[string]any) {
	refs := backendsOf(r.baseline.Rule)
	stable, _ = refs[r.baseline.stable].(map[string]any)
	if r.baseline.canary >= 0 {
		canary, _ = refs[r.baseline.canary].(map[string]any)
	}
	return stable, canary
}

// CheckSteps says whether every percentage can be written exactly and lies
// above the baseline share.
func (r *HTTPRoute) CheckSteps(steps []int) error {
	was := place{stable: r.baseline.stable, canary: r.baseline.canary}
	for _, percent := range steps {
		if _, err := split(r.baseline.Rule, was, percent); err != nil {
			return err
		}
	}
	if share := r.BaselineShare(); len(steps) > 0 && float64(steps[0]) <= share {
		return hint.Errorf(fmt.Sprintf("start above %.4g, or put the canary's weight to 0 first", share),
			"the first step, %d%%, is not above the canary's present share of %.4g%%", steps[0], share)
	}
	return nil
}

func shareIn(rule any, p place) float64 {
	refs := backendsOf(rule)
	if p.canary < 0 {
		return 0
	}
	stable, canary := weightOf(refs[p.stable]), weightOf(refs[p.canary])
	if stable+canary == 0 {
		return 0
	}
	return 100 * float64(canary) / float64(stable+canary)
}

func (r *HTTPRoute) get(ctx context.Context) (*unstructured.Unstructured, error) {
	route, err := r.client.Get(ctx, r.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, hint.Wrap(fmt.Errorf("get httproute %s: %w", r.name, err), "kubectl get httproutes -A")
	}
	if err != nil {
		return nil, fmt.Errorf("get httproute %s: %w", r.name, err)
	}
	if r.baseline.UID != "" && route.GetUID() != r.baseline.UID {
		return nil, fmt.Errorf("httproute %s was deleted and created anew: %w", r.name, rollout.ErrDrift)
	}
	return route, nil
}

// patch sends ops. refused reports a 422: a test did not hold, or the server
// found the result invalid; the caller reads the object again to learn which.
func (r *HTTPRoute) patch(ctx context.Context, ops []operation) (route *unstructured.Unstructured, refused bool, err error) {
	body, err := json.Marshal(ops)
	if err != nil {
		return nil, false, fmt.Errorf("encode patch of httproute %s: %w", r.name, err)
	}
	route, err = r.client.Patch(ctx, r.name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: FieldManager})
	if err != nil {
		return nil, apierrors.IsInvalid(err) || apierrors.IsConflict(err), fmt.Errorf("patch httproute %s: %w", r.name, err)
	}
	return route, false, nil
}

// Backend is one backendRef's weight before and after a move.
type Backend struct {
	Name          string `json:"name"`
	Before, After int64
}

// Preview says which weights the move from one goal to another would change.
func (r *HTTPRoute) Preview(from, goal rollout.Goal) ([]Backend, error) {
	before, err := r.weightsAt(from)
	if err != nil {
		return nil, err
	}
	after, err := r.weightsAt(goal)
	if err != nil {
		return nil, err
	}
	return []Backend{
		{Name: r.selection.Stable, Before: before.stable, After: after.stable},
		{Name: r.selection.Canary, Before: before.canary, After: after.canary},
	}, nil
}

func (r *HTTPRoute) weightsAt(goal rollout.Goal) (weights, error) {
	was := place{stable: r.baseline.stable, canary: r.baseline.canary}
	if goal != rollout.Baseline {
		return split(r.baseline.Rule, was, int(goal))
	}
	refs := backendsOf(r.baseline.Rule)
	w := weights{stable: weightOf(refs[was.stable])}
	if was.canary >= 0 {
		w.canary = weightOf(refs[was.canary])
	}
	return w, nil
}
