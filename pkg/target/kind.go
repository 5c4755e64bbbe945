package target

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Kind is a kind of object that carries weights. A new one implements layout
// and is listed in Kinds; nothing else in this package knows kinds.
type Kind struct {
	// Name is how the kind is written in TYPE/NAME and in messages, and with
	// the object's name it makes the journal's.
	Name string
	// Aliases are other ways to write it.
	Aliases  []string
	Resource schema.GroupVersionResource
	// Sparse says that what has no share is not listed, so that nothing is left
	// to take out once the canary has all of the traffic.
	Sparse bool
	layout func(Selection) layout
}

// Kinds are all there are.
func Kinds() []Kind {
	return []Kind{{
		Name: "httproute", Aliases: []string{"httproutes", "httproute.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io"},
		Resource: kube.HTTPRoutes(),
		layout:   func(sel Selection) layout { return &httpRoute{selection: sel} },
	}, {
		Name: "inferencemodel", Aliases: []string{"inferencemodels", "inferencemodel.inference.networking.x-k8s.io", "inferencemodels.inference.networking.x-k8s.io"},
		Resource: kube.InferenceModels(), Sparse: true,
		layout: func(sel Selection) layout { return &models{modelShape: inferenceModelShape(), selection: sel} },
	}, {
		Name: "inferencemodelrewrite", Aliases: []string{"inferencemodelrewrites", "inferencemodelrewrite.inference.networking.x-k8s.io", "inferencemodelrewrites.inference.networking.x-k8s.io"},
		Resource: kube.ModelRewrites(), Sparse: true,
		layout: rewriteLayout,
	}, {
		Name: "inferencemodelrewrite.llm-d.ai", Aliases: []string{"inferencemodelrewrites.llm-d.ai"},
		Resource: kube.LLMDModelRewrites(), Sparse: true,
		layout: rewriteLayout,
	}}
}

func rewriteLayout(sel Selection) layout {
	return &models{modelShape: modelRewriteShape(), selection: sel}
}

// KindOf finds the kind that people write as name.
func KindOf(name string) (Kind, bool) {
	name = strings.ToLower(name)
	for _, k := range Kinds() {
		if k.Name == name || slices.Contains(k.Aliases, name) {
			return k, true
		}
	}
	return Kind{}, false
}

// layout is where a kind of object keeps its weights, and which operations move
// them: all that differs between kinds, and all of it pure. An object is as one
// read found it. Operations carry no test of the stamp, Object adds that.
//
// Absence may be 0 %: whether a share of 0 or 100 is written as a weight or by
// listing one entry only is the layout's affair, as long as at recognises what
// move wrote, and restore returns to exactly what take found.
type layout interface {
	// take makes object the baseline. Its errors carry hints.
	take(object *unstructured.Unstructured) error
	// record is the baseline as the journal keeps it, with the object's uid
	// under "uid"; recall reads it back.
	record() any
	recall(raw json.RawMessage) error
	// entries are stable and canary as the baseline lists them, nil if it does not.
	entries() (stable, canary map[string]any)
	// weights are those of goal, negative where nothing is listed; an error
	// with a hint when goal cannot be written exactly.
	weights(goal rollout.Goal) (weights, error)
	// at says what share of the two the canary has in object, in percent, and
	// whether the weights are exactly goal's. rollout.ErrDrift when the object
	// has no such place any more.
	at(object *unstructured.Unstructured, goal rollout.Goal) (share float64, exact bool, err error)
	// move takes object to goal, and tests everything the decision rests on.
	move(object *unstructured.Unstructured, goal rollout.Goal) ([]operation, error)
	// restore takes object to the baseline, and tests no more than who the
	// entries are, so that nothing can starve it.
	restore(object *unstructured.Unstructured) ([]operation, error)
	// removeStable takes stable out of an object at 100 %; nil when it is not
	// listed any more.
	removeStable(object *unstructured.Unstructured) ([]operation, error)
	// accepted says whether everyone who serves the object reported its present
	// generation good, and else what is waited for. A kind without a status
	// is always accepted: only the share test verifies it (design §8).
	accepted(object *unstructured.Unstructured) (ok bool, waiting string)
	// manual restores the baseline without tests, for a person with kubectl.
	manual() []operation
}

// weights are the two numbers that express a share; negative is not listed.
type weights struct{ stable, canary int64 }

// share is the canary's part of the two, in percent.
func (w weights) share() float64 {
	stable, canary := max(0, w.stable), max(0, w.canary)
	if stable+canary == 0 {
		return 0
	}
	return 100 * float64(canary) / float64(stable+canary)
}
