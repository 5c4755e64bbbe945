package collect

import (
	"context"
	"fmt"

	"github.com/kubectl-infer/kubectl-infer/pkg/doctor"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// maxBound is for how many objects gates are bound: each reads the pages of its
// arms again.
const maxBound = 20

// Gates finds, for every object whose weights are to be moved, the buckets that
// each gate would be read from. What cannot be bound has a Problem.
func Gates(ctx context.Context, clients *kube.Clients, s *doctor.Snapshot, movers []Mover, exprs []gate.Expr, from evidence.Options) {
	for i, m := range movers {
		arms := armsOf(*s, m)
		if len(arms) != 2 || i >= maxBound {
			continue // not there, not readable, or not to be compared
		}
		s.Gates = append(s.Gates, bind(ctx, clients, m, arms, exprs, from)...)
	}
}

// bind is one object's gates.
func bind(ctx context.Context, clients *kube.Clients, m Mover, arms []evidence.Pool, exprs []gate.Expr, from evidence.Options) []doctor.Gate {
	both := evidence.New(clients, arms[0], arms[1], from)
	defer both.Close()
	problem := ""
	if err := both.Bind(ctx, exprs); err != nil {
		problem = err.Error()
		exprs = exprs[:1] // one finding says it
	}
	edges := both.Edges()
	var gates []doctor.Gate
	for i, expr := range exprs {
		g := doctor.Gate{Namespace: m.Namespace, Object: m.String(), Expr: expr, Problem: problem}
		if problem == "" && i < len(edges) {
			g.Edges = edges[i]
		}
		gates = append(gates, g)
	}
	return gates
}

// armsOf are the first two arms of the object's first rule with several.
func armsOf(s doctor.Snapshot, m Mover) []evidence.Pool {
	var arms []evidence.Pool
	pool := func(key doctor.PoolKey, model string) {
		for _, p := range s.Pools {
			if p.PoolKey == key && len(arms) < 2 {
				arm := Arm(s, p)
				arm.Model = model
				arms = append(arms, arm)
			}
		}
	}
	for _, route := range s.Routes {
		for _, rule := range route.Spec.Rules {
			if m.String() != "httproute/"+route.Name || m.Namespace != route.Namespace || len(rule.BackendRefs) < 2 || len(arms) > 0 {
				continue
			}
			for _, b := range rule.BackendRefs {
				if b.Group != nil && b.Namespace == nil {
					pool(doctor.PoolKey{Group: string(*b.Group), Namespace: route.Namespace, Name: string(b.Name)}, "")
				}
			}
		}
	}
	for _, models := range s.Models {
		if m.String() != fmt.Sprintf("%s/%s", models.Type, models.Name) || m.Namespace != models.Namespace {
			continue
		}
		for _, rule := range models.Rules {
			for _, t := range rule.Targets {
				pool(models.Pool, t.Name)
			}
		}
	}
	return arms
}
