package collect

import (
	"cmp"
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/doctor"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

// Rights adds, for each object whose weights are to be moved, what its rollout
// needs and whether the user may (SelfSubjectAccessReview). What is allowed on
// all objects of a namespace is asked once.
func Rights(ctx context.Context, clients *kube.Clients, s *doctor.Snapshot, movers []Mover) error {
	ask := &asker{clients: clients, answers: map[authorizationv1.ResourceAttributes]bool{}}
	for _, t := range movers {
		for _, need := range t.needs() {
			allowed, err := ask.may(ctx, need)
			if err != nil {
				return err
			}
			s.Rights = append(s.Rights, doctor.Right{Namespace: t.Namespace, Object: t.String(), What: words(need), Allowed: allowed})
		}
	}
	return nil
}

// Mover is an object whose weights can be moved.
type Mover struct {
	Kind            target.Kind
	Namespace, Name string
}

// String is TYPE/NAME.
func (m Mover) String() string { return m.Kind.Name + "/" + m.Name }

// Movable are routes with several pools in a rule, and models with several
// targets.
func Movable(s doctor.Snapshot) []Mover {
	var all []Mover
	for _, route := range s.Routes {
		for _, rule := range route.Spec.Rules {
			if len(rule.BackendRefs) > 1 {
				kind, _ := target.KindOf("httproute")
				all = append(all, Mover{kind, route.Namespace, route.Name})
				break
			}
		}
	}
	for _, m := range s.Models {
		for _, rule := range m.Rules {
			if kind, ok := target.KindOf(m.Type); ok && len(rule.Targets) > 1 {
				all = append(all, Mover{kind, m.Namespace, m.Name})
				break
			}
		}
	}
	return all
}

// needs are what `install rbac` grants: see package install.
func (m Mover) needs() []authorizationv1.ResourceAttributes {
	var all []authorizationv1.ResourceAttributes
	add := func(group, resource, name string, verbs ...string) {
		for _, verb := range verbs {
			all = append(all, authorizationv1.ResourceAttributes{Namespace: m.Namespace, Group: group, Resource: resource, Name: name, Verb: verb})
		}
	}
	own := journal.Name(m.Kind.Name, m.Name)
	add(m.Kind.Resource.Group, m.Kind.Resource.Resource, m.Name, "get", "patch", "watch")
	add("", "configmaps", own, "get", "update")
	add("coordination.k8s.io", "leases", own, "get", "update")
	add(kube.InferencePools().Group, "inferencepools", "", "get")
	add("", "services", "", "get")
	add("", "pods", "", "list")
	return all
}

func words(a authorizationv1.ResourceAttributes) string {
	if a.Name == "" {
		return a.Verb + " " + a.Resource
	}
	return a.Verb + " " + a.Resource + "/" + a.Name
}

// asker remembers answers.
type asker struct {
	clients *kube.Clients
	answers map[authorizationv1.ResourceAttributes]bool
}

func (a *asker) may(ctx context.Context, need authorizationv1.ResourceAttributes) (bool, error) {
	all := need
	all.Name = ""
	allowed, err := a.ask(ctx, all)
	if err != nil || allowed || need.Name == "" {
		return allowed, err
	}
	return a.ask(ctx, need)
}

func (a *asker) ask(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	key := what
	if allowed, known := a.answers[key]; known {
		return allowed, nil
	}
	review, err := a.clients.Core.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx,
		&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask whether you may %s in namespace %s: %w", words(what), cmp.Or(what.Namespace, "(all)"), err)
	}
	a.answers[key] = review.Status.Allowed
	return review.Status.Allowed, nil
}
