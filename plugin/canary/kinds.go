package canary

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// family is a kind of target as the verbs see it: where its weights are, which
// package target knows, and what its two arms are. A new kind is a layout in
// package target and an entry in families; the engine and the verbs know none.
type family struct {
	target.Kind
	// check refuses arms that cannot be measured, by the object as it was opened.
	check func(o *target.Object, plan rollout.Plan) error
	// arms resolves both arms, proves that their metrics can be read, and finds
	// what the plan's gates are read from.
	arms func(ctx context.Context, clients *kube.Clients, list targets, plan rollout.Plan, from evidence.Options) (*evidence.Arms, error)
}

func families() []family {
	var all []family
	for _, kind := range target.Kinds() {
		f := family{Kind: kind, check: func(*target.Object, rollout.Plan) error { return nil }, arms: modelArms}
		if kind.Resource == kube.HTTPRoutes() {
			f.check, f.arms = checkBackends, poolArms
		}
		all = append(all, f)
	}
	return all
}

// object is TYPE/NAME as the user typed it.
type object struct {
	family
	name string
}

func (o object) String() string { return o.Name + "/" + o.name }

// parseObject reads the one target that a verb takes: of several that move
// together, the one with the journal.
func parseObject(args []string) (object, error) {
	if len(args) != 1 {
		return object{}, exit.With(exit.Usage, hint.Errorf("write the target as TYPE/NAME, such as httproute/chat", "name one target as TYPE/NAME, got %d arguments", len(args)))
	}
	return parseTarget(args[0])
}

func parseTarget(text string) (object, error) {
	typed, name, ok := strings.Cut(text, "/")
	if !ok || typed == "" || name == "" || strings.Contains(name, "/") {
		return object{}, exit.With(exit.Usage, hint.Errorf("write the target as TYPE/NAME, such as httproute/"+cleanName(text), "target %q is not TYPE/NAME", text))
	}
	kind, known := target.KindOf(typed)
	i := slices.IndexFunc(families(), func(f family) bool { return f.Name == kind.Name })
	if !known || i < 0 {
		return object{}, exit.With(exit.Usage, hint.Errorf("kubectl get httproutes", "target %q: weights of a %s cannot be moved, only those of %s", text, typed, kindNames()))
	}
	return object{family: families()[i], name: name}, nil
}

// cleanName is what of a mistyped target may be its name.
func cleanName(text string) string {
	if name := strings.Trim(text[strings.LastIndexByte(text, '/')+1:], "/ "); name != "" {
		return name
	}
	return "NAME"
}

func kindNames() string {
	var names []string
	for _, f := range families() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

// parseTargets reads the targets of a run, sorted by name: the first has the
// journal. All are of one kind, so that the arms mean the same in each.
func parseTargets(args []string) ([]object, error) {
	if len(args) == 0 {
		return nil, exit.With(exit.Usage, hint.Errorf("write the target as TYPE/NAME, such as httproute/chat", "no target is named"))
	}
	var list []object
	for _, arg := range args {
		o, err := parseTarget(arg)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 && o.Name != list[0].Name {
			return nil, exit.With(exit.Usage, hint.Errorf("run one rollout for each kind", "targets %s and %s are of different kinds", list[0], o))
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b object) int { return strings.Compare(a.String(), b.String()) })
	for i := range list[1:] {
		if list[i].name == list[i+1].name {
			return nil, exit.With(exit.Usage, hint.Errorf("name each target once", "target %s is named twice", list[i]))
		}
	}
	return list, nil
}

func checkBackends(route *target.Object, plan rollout.Plan) error {
	stable, canary := route.Entries()
	for _, ref := range []map[string]any{stable, canary} {
		if ref == nil {
			continue
		}
		if !evidence.KnownPools(fmt.Sprint(ref["group"])) || ref["kind"] != "InferencePool" {
			return hint.Errorf("only backends of kind InferencePool can be measured yet",
				"%s: backend %v is a %v of group %q", route.Name(), ref["name"], ref["kind"], ref["group"])
		}
		if namespace, ok := ref["namespace"].(string); ok && namespace != plan.Namespace {
			return hint.Errorf("roll out from the pools' namespace, or move the pools",
				"%s: backend %v is in namespace %s; only pools of the route's own namespace can be measured yet", route.Name(), ref["name"], namespace)
		}
	}
	return nil
}

// poolArms are two InferencePools, each with pickers of its own. A canary that
// is not listed yet is of stable's group, as its backendRef will be.
func poolArms(ctx context.Context, clients *kube.Clients, list targets, plan rollout.Plan, from evidence.Options) (*evidence.Arms, error) {
	stableRef, canaryRef := list[0].Entries()
	if canaryRef == nil {
		canaryRef = stableRef
	}
	stable, err := evidence.ResolvePool(ctx, clients, plan.Namespace, evidence.PoolRef{Group: fmt.Sprint(stableRef["group"]), Name: bare(plan.Stable)})
	if err != nil {
		return nil, err
	}
	canary, err := evidence.ResolvePool(ctx, clients, plan.Namespace, evidence.PoolRef{Group: fmt.Sprint(canaryRef["group"]), Name: bare(plan.Canary)})
	if err != nil {
		return nil, err
	}
	return bind(ctx, clients, stable, canary, plan, from)
}

// bind finds what the plan's gates are read from.
func bind(ctx context.Context, clients *kube.Clients, stable, canary evidence.Pool, plan rollout.Plan, from evidence.Options) (*evidence.Arms, error) {
	exprs, err := plan.Expressions()
	if err != nil {
		return nil, err
	}
	both := evidence.New(clients, stable, canary, from)
	if err := both.Bind(ctx, exprs); err != nil {
		both.Close()
		return nil, err
	}
	return both, nil
}

// bare is NAME of KIND/NAME.
func bare(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
