package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
)

const (
	// labelProvisioned marks what this gateway made; its value is the pool.
	labelProvisioned = "kubectl-infer.github.io/provisioned-for"
	pickerImage      = "kubectl-infer/endpoint-picker"
)

// provision makes a picker for each pool that names a Service which does not
// exist, and says so in the pool's status. Once the Service is there, an
// informer brings the next look.
func (g *Gateway) provision(ctx context.Context, c *cluster, s translate.Statuses) error {
	var errs []error
	for _, missing := range s.MissingPickers {
		if err := c.createPicker(ctx, missing); err != nil {
			errs = append(errs, fmt.Errorf("provision picker of inferencepool %s: %w", missing.Pool, err))
			continue
		}
		g.options.Log.Info("provisioned an endpoint picker: the pool's picker Service did not exist",
			"pool", missing.Pool.String(), "service", missing.Service)
	}
	ours, err := labels.NewRequirement(labelProvisioned, selection.Exists, nil)
	if err != nil {
		return err
	}
	services, err := c.services.List(labels.NewSelector().Add(*ours))
	for _, service := range services {
		noteProvisioned(s, types.NamespacedName{Namespace: service.Namespace, Name: service.Labels[labelProvisioned]})
	}
	return errors.Join(append(errs, err)...)
}

// noteProvisioned says in a pool's ResolvedRefs message that its picker is ours.
func noteProvisioned(s translate.Statuses, pool types.NamespacedName) {
	for _, parent := range slices.Concat(s.Pools[pool], s.OldPools[pool]) {
		r := meta.FindStatusCondition(parent.Conditions, string(infv1.InferencePoolConditionResolvedRefs))
		if r != nil && r.Status == metav1.ConditionTrue {
			r.Message = "the endpoint picker was provisioned by this gateway"
		}
	}
}

// createPicker makes the picker that install endpoint-picker would, named as the
// pool's picker reference. Each object is left alone where it exists; the Service
// comes last, as its absence is what asks for all.
func (c *cluster) createPicker(ctx context.Context, m translate.MissingPicker) error {
	objects := scaffold.Picker(scaffold.PickerOptions{
		ServerOptions: scaffold.ServerOptions{
			About: scaffold.About{Name: m.Service, Namespace: m.Pool.Namespace}, Image: pickerImage, Replicas: 1,
		},
		Pool: m.Pool.Name, Group: m.Group, Port: int(m.Port),
	})
	var service *corev1.Service
	for _, object := range objects {
		if s, ok := object.(*corev1.Service); ok {
			service = s
			continue
		}
		if err := c.create(ctx, object, m.Pool); err != nil {
			return err
		}
	}
	return c.create(ctx, service, m.Pool)
}

// create makes one object of a picker and marks it as ours.
func (c *cluster) create(ctx context.Context, object runtime.Object, pool types.NamespacedName) error {
	named, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	set := named.GetLabels()
	if set == nil {
		set = map[string]string{}
	}
	set[labelProvisioned] = pool.Name
	named.SetLabels(set)
	options := metav1.CreateOptions{FieldManager: fieldManager}
	switch o := object.(type) {
	case *corev1.ServiceAccount:
		_, err = c.core.CoreV1().ServiceAccounts(pool.Namespace).Create(ctx, o, options)
	case *rbacv1.Role:
		_, err = c.core.RbacV1().Roles(pool.Namespace).Create(ctx, o, options)
	case *rbacv1.RoleBinding:
		_, err = c.core.RbacV1().RoleBindings(pool.Namespace).Create(ctx, o, options)
	case *appsv1.Deployment:
		o.Spec.Template.Labels[labelProvisioned] = pool.Name
		_, err = c.core.AppsV1().Deployments(pool.Namespace).Create(ctx, o, options)
	case *corev1.Service:
		_, err = c.core.CoreV1().Services(pool.Namespace).Create(ctx, o, options)
	case *networkingv1.NetworkPolicy:
		_, err = c.core.NetworkingV1().NetworkPolicies(pool.Namespace).Create(ctx, o, options)
	case *policyv1.PodDisruptionBudget:
		_, err = c.core.PolicyV1().PodDisruptionBudgets(pool.Namespace).Create(ctx, o, options)
	default:
		err = fmt.Errorf("%T: not a kind that a picker is made of", object)
	}
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
