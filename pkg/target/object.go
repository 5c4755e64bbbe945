package target

import (
	"cmp"
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

// patchAttempts bounds how often one call re-reads after a refused patch. An
// object whose metadata is written 50 times a second loses a whole-rule test
// rarely, because metadata is not in it; the bound only ends a hopeless loop.
const patchAttempts = 20

// Object is one object that carries weights: it answers rollout.Target. It is
// used from one goroutine.
type Object struct {
	kind            Kind
	client          dynamic.ResourceInterface
	namespace, name string
	layout          layout
	uid             types.UID
	stamp           string // ours
	found           string // the stamp it carried when it was opened
	owner           Owner
}

// Open reads the object called name in namespace and makes what it says the
// baseline.
func Open(ctx context.Context, client dynamic.Interface, kind Kind, namespace, name string, sel Selection) (*Object, error) {
	o := newObject(client, kind, namespace, name, sel)
	object, err := o.get(ctx)
	if err != nil {
		return nil, err
	}
	if err := o.layout.take(object); err != nil {
		return nil, err
	}
	o.uid, o.found, o.owner = object.GetUID(), object.GetAnnotations()[StampAnnotation], ownerOf(object)
	o.stamp = o.found
	return o, nil
}

// Resume takes up an object whose baseline an earlier process recorded. It
// reads nothing.
func Resume(client dynamic.Interface, kind Kind, namespace, name string, sel Selection, recorded json.RawMessage) (*Object, error) {
	o := newObject(client, kind, namespace, name, sel)
	var head struct {
		UID types.UID `json:"uid"`
	}
	if err := json.Unmarshal(recorded, &head); err != nil {
		return nil, fmt.Errorf("read recorded baseline of %s: %w", o, err)
	}
	if err := o.layout.recall(recorded); err != nil {
		return nil, fmt.Errorf("read recorded baseline of %s: %w", o, err)
	}
	o.uid = head.UID
	return o, nil
}

func newObject(client dynamic.Interface, kind Kind, namespace, name string, sel Selection) *Object {
	return &Object{
		kind: kind, client: client.Resource(kind.Resource).Namespace(namespace),
		namespace: namespace, name: name, layout: kind.layout(sel),
	}
}

// String names the object in messages: kind and name.
func (o *Object) String() string { return o.kind.Name + " " + o.name }

// Name is TYPE/NAME.
func (o *Object) Name() string { return o.kind.Name + "/" + o.name }

// Record is the baseline as the journal keeps it.
func (o *Object) Record() (json.RawMessage, error) {
	raw, err := json.Marshal(o.layout.record())
	if err != nil {
		return nil, fmt.Errorf("encode baseline of %s: %w", o, err)
	}
	return raw, nil
}

// Digest identifies recorded baselines: the first 16 hex digits of the SHA-256
// of what the journal keeps.
func Digest(recorded ...json.RawMessage) string {
	h := sha256.New()
	for _, raw := range recorded {
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// FoundStamp is the stamp the object carried when it was opened; "" if none.
func (o *Object) FoundStamp() string { return o.found }

// Owner is whose the object was when it was opened.
func (o *Object) Owner() Owner { return o.owner }

// ReadOwner is whose the object is now.
func (o *Object) ReadOwner(ctx context.Context) (Owner, error) {
	object, err := o.get(ctx)
	if err != nil {
		return Owner{}, err
	}
	return ownerOf(object), nil
}

// Entries are stable and canary as the baseline lists them; nil if it does not.
func (o *Object) Entries() (stable, canary map[string]any) { return o.layout.entries() }

// CheckSteps says whether every percentage can be written exactly and lies
// above the baseline share.
func (o *Object) CheckSteps(steps []int) error {
	for _, percent := range steps {
		if _, err := o.layout.weights(rollout.Goal(percent)); err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
	}
	was, err := o.layout.weights(rollout.Baseline)
	if err != nil {
		return err
	}
	if share := was.share(); len(steps) > 0 && float64(steps[0]) <= share {
		return hint.Errorf(fmt.Sprintf("start above %.4g, or put the canary's weight to 0 first", share),
			"%s: the first step, %d%%, is not above the canary's present share of %.4g%%", o, steps[0], share)
	}
	return nil
}

// Change is one weight before and after a move; negative is not listed.
type Change struct{ Before, After int64 }

// Preview says how the move from one goal to another changes the two weights.
func (o *Object) Preview(from, goal rollout.Goal) (stable, canary Change, err error) {
	before, err := o.layout.weights(from)
	if err != nil {
		return stable, canary, err
	}
	after, err := o.layout.weights(goal)
	return Change{before.stable, after.stable}, Change{before.canary, after.canary}, err
}

func (o *Object) get(ctx context.Context) (*unstructured.Unstructured, error) {
	object, err := o.client.Get(ctx, o.name, metav1.GetOptions{})
	if kube.NotInstalled(err) {
		return nil, hint.Errorf("kubectl get crd "+o.kind.Resource.GroupResource().String()+"   # which kinds are there? kubectl api-resources --api-group="+o.kind.Resource.Group,
			"get %s in namespace %s: the cluster has no %s of %s: %w", o, o.namespace, o.kind.Resource.Resource, o.kind.Resource.GroupVersion(), err)
	}
	if apierrors.IsNotFound(err) {
		return nil, hint.Wrap(fmt.Errorf("get %s in namespace %s: %w", o, o.namespace, err), "kubectl get "+o.kind.Resource.GroupResource().String()+" -A")
	}
	if err != nil {
		return nil, fmt.Errorf("get %s in namespace %s: %w", o, o.namespace, err)
	}
	if o.uid != "" && object.GetUID() != o.uid {
		return nil, fmt.Errorf("%s was deleted and created anew: %w", o, rollout.ErrDrift)
	}
	return object, nil
}

// attempt reads the object and sends the operations that plan makes of it,
// behind a test of the stamp, again and again while the server refuses them: a
// test did not hold, or the result is invalid; which, the next read tells. No
// operations end it.
func (o *Object) attempt(ctx context.Context, plan func(*unstructured.Unstructured) ([]operation, error)) error {
	var last error
	for range patchAttempts {
		object, err := o.get(ctx)
		if err != nil {
			return err
		}
		ops, err := plan(object)
		if err != nil || ops == nil {
			return err
		}
		body, err := json.Marshal(ops)
		if err != nil {
			return fmt.Errorf("encode patch of %s: %w", o, err)
		}
		_, err = o.client.Patch(ctx, o.name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: FieldManager})
		if err == nil {
			return nil
		}
		last = fmt.Errorf("patch %s: %w", o, err)
		if !apierrors.IsInvalid(err) && !apierrors.IsConflict(err) {
			return last
		}
	}
	return last
}

// Seize stamps the object, so that from now on only this run and epoch can
// write it. It moves nothing. The stamp of another run, unless it was there
// when the object was opened, is rollout.ErrSuperseded.
func (o *Object) Seize(ctx context.Context, stamp string) error {
	err := o.attempt(ctx, func(object *unstructured.Unstructured) ([]operation, error) {
		now := object.GetAnnotations()[StampAnnotation]
		switch {
		case now == stamp:
			return nil, nil
		case now != "" && now != o.found && !yields(now, stamp):
			return nil, o.fenced()
		}
		return seizePatch(object.GetResourceVersion(), stamp, len(object.GetAnnotations()) > 0), nil
	})
	if err == nil {
		o.stamp = stamp
	}
	return err
}

// Adopt takes stamp as this run's without writing it: that of a finished run
// whose process died before it could clean up.
func (o *Object) Adopt(stamp string) { o.stamp = stamp }

// Read says where the object stands relative to goal.
func (o *Object) Read(ctx context.Context, goal rollout.Goal) (rollout.Standing, error) {
	object, err := o.get(ctx)
	if err != nil {
		return rollout.Standing{}, err
	}
	return o.standing(object, goal)
}

func (o *Object) standing(object *unstructured.Unstructured, goal rollout.Goal) (rollout.Standing, error) {
	share, exact, err := o.layout.at(object, goal)
	if err != nil {
		return rollout.Standing{}, err
	}
	s := rollout.Standing{Share: share, AtGoal: exact}
	switch now := object.GetAnnotations()[StampAnnotation]; {
	case o.stamp == "" || now == o.stamp:
	case now == "":
		s.AtGoal, s.Unstamped = false, true
	default:
		s.Fenced = true
	}
	s.Accepted, s.Waiting = o.layout.accepted(object)
	if !s.AtGoal {
		s.By = lastWriter(object)
	}
	return s, nil
}

// Move writes the weights of goal, provided the object stands at from (or at
// goal already). It returns rollout.ErrSuperseded when the stamp is another's
// and ErrDrift when the weights are.
func (o *Object) Move(ctx context.Context, from, goal rollout.Goal) error {
	return o.attempt(ctx, func(object *unstructured.Unstructured) ([]operation, error) { return o.plan(object, from, goal) })
}

// plan builds the patch that takes object to goal; nil when it is there.
func (o *Object) plan(object *unstructured.Unstructured, from, goal rollout.Goal) ([]operation, error) {
	if object.GetAnnotations()[StampAnnotation] != o.stamp {
		return nil, o.fenced()
	}
	if _, there, err := o.layout.at(object, goal); err != nil || there {
		return nil, err
	}
	if goal == rollout.Baseline {
		ops, err := o.layout.restore(object)
		return o.guarded(ops), err
	}
	if from != rollout.Anywhere {
		if share, there, err := o.layout.at(object, from); err != nil {
			return nil, err
		} else if !there {
			return nil, fmt.Errorf("%s: canary share is %.4g%%, written by %s, not %s: %w",
				o, share, cmp.Or(lastWriter(object), "an unnamed manager"), from, rollout.ErrDrift)
		}
	}
	ops, err := o.layout.move(object, goal)
	return o.guarded(ops), err
}

// Rehearse has the API server apply the move from the baseline to goal without
// keeping it, and says whether the object would then stand at goal: a server
// whose definition of the kind is older drops fields that it does not know.
func (o *Object) Rehearse(ctx context.Context, goal rollout.Goal) (bool, error) {
	object, err := o.get(ctx)
	if err != nil {
		return false, err
	}
	ops, err := o.layout.move(object, goal)
	if err != nil {
		return false, err
	}
	body, err := json.Marshal(ops)
	if err != nil {
		return false, fmt.Errorf("encode patch of %s: %w", o, err)
	}
	after, err := o.client.Patch(ctx, o.name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: FieldManager, DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return false, fmt.Errorf("rehearse the patch of %s: %w", o, err)
	}
	_, there, err := o.layout.at(after, goal)
	return there, err
}

// guarded puts the test of our stamp before ops.
func (o *Object) guarded(ops []operation) []operation {
	if ops == nil {
		return nil
	}
	return append([]operation{testStamp(o.stamp)}, ops...)
}

// Release removes our stamp. An object that carries another's stamp, or none,
// is left alone.
func (o *Object) Release(ctx context.Context) error {
	return o.attempt(ctx, func(object *unstructured.Unstructured) ([]operation, error) {
		if o.stamp == "" || object.GetAnnotations()[StampAnnotation] != o.stamp {
			return nil, nil
		}
		return releasePatch(o.stamp, object.GetAnnotations(), ownEntries(object)), nil
	})
}

// RemoveStable takes stable's entry out, once the canary has all of the
// traffic; removed is false when it is not listed any more. The object is
// stamped for the write and left without stamp.
func (o *Object) RemoveStable(ctx context.Context, stamp string) (removed bool, err error) {
	if err := o.Seize(ctx, stamp); err != nil {
		return false, err
	}
	err = o.attempt(ctx, func(object *unstructured.Unstructured) ([]operation, error) {
		if object.GetAnnotations()[StampAnnotation] != o.stamp {
			return nil, o.fenced()
		}
		ops, err := o.layout.removeStable(object)
		if err != nil || ops == nil {
			return nil, err
		}
		if share, there, err := o.layout.at(object, 100); err != nil || !there {
			return nil, cmp.Or(err, fmt.Errorf("%s: canary share is %.4g%%, not 100%%: %w", o, share, rollout.ErrDrift))
		}
		removed = true
		return o.guarded(ops), nil
	})
	return removed && err == nil, cmp.Or(err, o.Release(ctx))
}

// ManualRestore is the one command that restores the baseline weights with
// nothing but kubectl, for the moment when we cannot.
func (o *Object) ManualRestore() string {
	body, err := json.Marshal(o.layout.manual())
	if err != nil {
		return ""
	}
	return "kubectl patch " + o.kind.Resource.GroupResource().String() + " " + o.name + " -n " + o.namespace + " --type=json -p " + shellQuote(string(body))
}

// fenced says that the object does not carry our stamp.
func (o *Object) fenced() error {
	return fmt.Errorf("%s does not carry our stamp any more: %w", o, rollout.ErrSuperseded)
}

// yields says whether stamp now gives way to next: a later epoch of its run.
func yields(now, next string) bool {
	a, b := readStamp(now), readStamp(next)
	return a.Run != "" && a.Run == b.Run && a.Epoch < b.Epoch
}

// StampedRun is the run that a stamp names; "" if it cannot be read.
func StampedRun(stamp string) string { return readStamp(stamp).Run }

// StampedKind is "mirror" for a mirror's stamp and "" for a canary's.
func StampedKind(stamp string) string { return readStamp(stamp).Kind }

type stampText struct {
	Run   string `json:"run"`
	Epoch int64  `json:"epoch"`
	Kind  string `json:"kind"`
}

func readStamp(text string) stampText {
	var s stampText
	if json.Unmarshal([]byte(text), &s) != nil {
		return stampText{}
	}
	return s
}
