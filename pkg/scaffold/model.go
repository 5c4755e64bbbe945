package scaffold

import (
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// ModelAPI is a kind by which a cluster splits a model's requests over target
// models inside one pool.
type ModelAPI string

// The kinds. Source: inference-extension v0.5.1 (InferenceModel), v1.2.0 (split),
// v1.3.0 to v1.5.0 (targets); llm-d-router v0.9.0.
const (
	InferenceModel ModelAPI = "inferencemodel"
	RewriteSplit   ModelAPI = "inferencemodelrewrite-split"
	RewriteTargets ModelAPI = "inferencemodelrewrite"
	LLMDRewrite    ModelAPI = "inferencemodelrewrite-llmd"
)

// ModelAPIs are all of them, in the order in which they are preferred.
func ModelAPIs() []ModelAPI {
	return []ModelAPI{LLMDRewrite, RewriteTargets, RewriteSplit, InferenceModel}
}

const (
	alphaGroup      = "inference.networking.x-k8s.io"
	alphaAPI        = alphaGroup + "/v1alpha2"
	llmdAPI         = "llm-d.ai/v1alpha2"
	maxTargetModels = 10
	maxTargetWeight = 1_000_000
)

// Target is one of a model's targets. Weight 0 is none given.
type Target struct {
	Name   string
	Weight int64
}

// ParseTarget reads NAME or NAME=WEIGHT.
func ParseTarget(text string) (Target, error) {
	name, number, weighted := strings.Cut(text, "=")
	weight, err := strconv.ParseInt(number, 10, 64)
	if name == "" || len(name) > maxModelName || weighted && (err != nil || weight < 1 || weight > maxTargetWeight) {
		return Target{}, hint.Errorf("--target travel-helper-v1=90", "--target %q is not NAME or NAME=WEIGHT with a weight of 1 to %d", text, maxTargetWeight)
	}
	return Target{Name: name, Weight: weight}, nil
}

// ModelOptions are what create model was asked for.
type ModelOptions struct {
	About
	API       ModelAPI
	Model     string // the name that clients ask for; empty is Name
	Pool      string
	PoolGroup string
	Targets   []Target
	Priority  *int // higher is served first, below 0 may be shed; nil makes nothing
}

func (o ModelOptions) check() error {
	weighted := 0
	seen := map[string]bool{}
	for _, t := range o.Targets {
		if seen[t.Name] {
			return hint.Errorf("name it once", "target %q is given twice", t.Name)
		}
		seen[t.Name] = true
		if t.Weight > 0 {
			weighted++
		}
	}
	switch {
	case o.Pool == "":
		return hint.Errorf("--pool qwen-pool", "no pool is named")
	case len(o.Targets) == 0:
		return hint.Errorf("--target travel-helper-v1=100", "no target is named")
	case len(o.Targets) > maxTargetModels:
		return hint.Errorf("take fewer targets", "%d targets: at most %d", len(o.Targets), maxTargetModels)
	case weighted != 0 && weighted != len(o.Targets):
		return hint.Errorf("--target a=90 --target b=10", "some targets have a weight and some have none: those without would get nothing")
	case o.Priority != nil && (*o.Priority < math.MinInt32 || *o.Priority > math.MaxInt32):
		return hint.Errorf("--priority 0", "priority %d is no 32-bit number", *o.Priority)
	}
	return nil
}

// ModelObjects are the object that splits the model over its targets, and for a
// priority what the API has: InferenceModel's criticality, else an
// InferenceObjective, which requests name by header.
func ModelObjects(o ModelOptions) ([]runtime.Object, error) {
	if o.Model == "" {
		o.Model = o.Name
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	ref := map[string]any{"group": o.PoolGroup, "kind": "InferencePool", "name": o.Pool}
	if o.API == InferenceModel {
		spec := map[string]any{"modelName": o.Model, "poolRef": ref, "targetModels": o.targets("name")}
		if o.Priority != nil {
			spec["criticality"] = criticality(*o.Priority)
		}
		return []runtime.Object{o.custom(alphaAPI, "InferenceModel", spec)}, nil
	}
	api, field := alphaAPI, "targets"
	switch o.API {
	case RewriteSplit:
		field = "split"
	case LLMDRewrite:
		api = llmdAPI
	}
	list := []runtime.Object{o.custom(api, "InferenceModelRewrite", map[string]any{
		"poolRef": ref,
		"rules": []any{map[string]any{
			"matches": []any{map[string]any{"model": map[string]any{"type": "Exact", "value": o.Model}}},
			field:     o.targets("modelRewrite"),
		}},
	})}
	if o.Priority != nil {
		list = append(list, o.custom(api, "InferenceObjective", map[string]any{"poolRef": ref, "priority": int64(*o.Priority)}))
	}
	return list, nil
}

func (o ModelOptions) targets(field string) []any {
	list := make([]any, len(o.Targets))
	for i, t := range o.Targets {
		target := map[string]any{field: t.Name}
		if t.Weight > 0 {
			target["weight"] = t.Weight
		}
		list[i] = target
	}
	return list
}

// criticality is InferenceModel's word for a priority.
func criticality(priority int) string {
	switch {
	case priority > 0:
		return "Critical"
	case priority < 0:
		return "Sheddable"
	}
	return "Standard"
}
