package rewrite

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Pool is the InferencePool that rules must refer to; objects of other
// namespaces are never read.
type Pool struct{ Group, Name string }

const (
	groupV1    = "inference.networking.k8s.io"
	groupAlpha = "inference.networking.x-k8s.io"
	groupLLMD  = "llm-d.ai"

	kindModel     = "InferenceModel"
	kindRewrite   = "InferenceModelRewrite"
	kindObjective = "InferenceObjective"
)

// maxName is the longest model name that is served, in bytes; the body router
// has the same limit.
const maxName = 253

type poolRef struct{ Group, Kind, Name string }

type inferenceModel struct {
	Spec struct {
		ModelName    string
		Criticality  string
		PoolRef      poolRef
		TargetModels []struct {
			Name   string
			Weight *int64
		}
	}
}

type rewriteTarget struct {
	ModelRewrite string
	Weight       *int64
}

type modelRewrite struct {
	Spec struct {
		PoolRef poolRef
		Rules   []struct {
			Matches []struct {
				Model *struct{ Type, Value string }
			}
			Split, Targets []rewriteTarget
		}
	}
}

type inferenceObjective struct {
	Spec struct {
		PoolRef  poolRef
		Priority int
	}
}

// ReadObject reads one object; ok is false when it is about another pool. A
// target that is no model name makes an error that names the object.
func ReadObject(u *unstructured.Unstructured, pool Pool) (o Object, ok bool, err error) {
	o = Object{Kind: u.GetKind(), Name: u.GetName(), Created: u.GetCreationTimestamp().Time}
	switch u.GetKind() {
	case kindModel:
		ok, err = o.readModel(u, pool)
	case kindRewrite:
		ok, err = o.readRewrite(u, pool)
	case kindObjective:
		ok, err = o.readObjective(u, pool)
	}
	if err != nil {
		return Object{}, false, fmt.Errorf("read %s %s: %w", u.GetKind(), u.GetName(), err)
	}
	return o, ok, nil
}

// decode reads the fields we know; others are left aside.
func decode(u *unstructured.Unstructured, into any) error {
	text, err := u.MarshalJSON()
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (o *Object) readModel(u *unstructured.Unstructured, pool Pool) (bool, error) {
	var m inferenceModel
	if err := decode(u, &m); err != nil {
		return false, err
	}
	group := m.Spec.PoolRef.Group
	if m.Spec.PoolRef.Name != pool.Name || group != "" && group != groupAlpha && group != groupV1 || m.Spec.ModelName == "" {
		return false, nil
	}
	o.Model, o.Priority = m.Spec.ModelName, criticality(m.Spec.Criticality)
	var targets []rewriteTarget
	for _, t := range m.Spec.TargetModels {
		targets = append(targets, rewriteTarget{t.Name, t.Weight})
	}
	if len(targets) == 0 {
		targets = []rewriteTarget{{m.Spec.ModelName, nil}}
	}
	weighed, err := weigh(targets)
	o.Rules = []Rule{{Model: m.Spec.ModelName, Targets: weighed}}
	return true, err
}

// criticality is the priority that stands for an InferenceModel's criticality; an
// unset one is Standard, as the API says.
func criticality(c string) int {
	switch c {
	case "Critical":
		return 1
	case "Sheddable":
		return -1
	default:
		return 0
	}
}

func (o *Object) readObjective(u *unstructured.Unstructured, pool Pool) (bool, error) {
	var i inferenceObjective
	if err := decode(u, &i); err != nil {
		return false, err
	}
	o.Objective, o.Priority = true, i.Spec.Priority
	return i.Spec.PoolRef.names(pool), nil
}

// names tells whether a reference that must name the pool's own group, v1's where
// it names none, is to this pool.
func (r poolRef) names(pool Pool) bool {
	group := r.Group
	if group == "" {
		group = groupV1
	}
	return r.Name == pool.Name && group == pool.Group
}

func (o *Object) readRewrite(u *unstructured.Unstructured, pool Pool) (bool, error) {
	var m modelRewrite
	if err := decode(u, &m); err != nil {
		return false, err
	}
	if !m.Spec.PoolRef.names(pool) {
		return false, nil
	}
	for _, rule := range m.Spec.Rules {
		if len(rule.Split) > 0 && len(rule.Targets) > 0 {
			return false, fmt.Errorf("a rule has both split and targets: they are one list under two names")
		}
		targets, err := weigh(append(rule.Split, rule.Targets...))
		if err != nil {
			return false, err
		}
		if len(rule.Matches) == 0 {
			o.Rules = append(o.Rules, Rule{Targets: targets})
		}
		for _, match := range rule.Matches {
			if match.Model != nil && match.Model.Value != "" {
				o.Rules = append(o.Rules, Rule{Model: match.Model.Value, Targets: targets})
			}
		}
	}
	return true, nil
}

// weigh gives every target its weight: equal ones when none is set, else none to
// those without.
func weigh(targets []rewriteTarget) ([]Target, error) {
	set := false
	for _, t := range targets {
		set = set || t.Weight != nil
	}
	var out []Target
	for _, t := range targets {
		if !Servable(t.ModelRewrite) {
			return nil, fmt.Errorf("target %q is not 1 to %d visible ASCII characters", t.ModelRewrite, maxName)
		}
		weight := int64(1)
		if set {
			weight = 0
			if t.Weight != nil {
				weight = max(0, *t.Weight)
			}
		}
		out = append(out, Target{t.ModelRewrite, uint64(weight)})
	}
	return out, nil
}

// Servable tells whether a name is one that a request can be rewritten to.
func Servable(name string) bool {
	return name != "" && len(name) <= maxName && strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
