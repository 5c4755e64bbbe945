package collect

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-infer/kubectl-infer/pkg/doctor"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// Arm is a pool of the snapshot as package evidence reads it.
func Arm(s doctor.Snapshot, pool doctor.Pool) evidence.Pool {
	arm := evidence.Pool{Namespace: pool.Namespace, Name: pool.Name, Ports: pool.Ports}
	if len(pool.Selector) > 0 {
		arm.Servers = labels.SelectorFromSet(pool.Selector)
	}
	for _, service := range s.Services {
		if service.Namespace == pool.Namespace && service.Name == pool.Picker && len(service.Spec.Selector) > 0 {
			arm.Pickers = labels.SelectorFromSet(service.Spec.Selector)
		}
	}
	return arm
}

// InUse are the pools that a route or a model names.
func InUse(s doctor.Snapshot) []doctor.Pool {
	named := map[doctor.PoolKey]bool{}
	for _, m := range s.Models {
		named[m.Pool] = true
	}
	for _, route := range s.Routes {
		for _, rule := range route.Spec.Rules {
			for _, b := range rule.BackendRefs {
				if b.Group == nil {
					continue
				}
				key := doctor.PoolKey{Group: string(*b.Group), Namespace: route.Namespace, Name: string(b.Name)}
				if b.Namespace != nil {
					key.Namespace = string(*b.Namespace)
				}
				named[key] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(s.Pools), func(p doctor.Pool) bool { return !named[p.PoolKey] })
}

// Ask asks the pods of every pool in use what they serve, and adds the answers.
func Ask(ctx context.Context, clients *kube.Clients, s *doctor.Snapshot, from evidence.Options) error {
	surveyor := evidence.NewSurveyor(clients, from)
	defer surveyor.Close()
	for _, pool := range InUse(*s) {
		says, err := surveyor.Look(ctx, Arm(*s, pool), s.Pods, true)
		if err != nil {
			return err
		}
		for _, p := range says.Pickers {
			page := doctor.PickerPage{Pod: p.Pod, Pool: pool.PoolKey, Serves: p.Serves, Answered: p.Ended, Astray: p.Astray}
			if p.Problem != nil {
				page.Problem = p.Problem.Error()
			}
			s.Pickers = append(s.Pickers, page)
		}
		for _, m := range says.Servers {
			if !m.Ready {
				continue
			}
			list := doctor.ServerList{Pod: m.Pod, Pool: pool.PoolKey, Models: m.Models}
			if m.Unlisted != nil {
				list.Problem = m.Unlisted.Error()
			}
			s.Servers = append(s.Servers, list)
		}
	}
	return nil
}
