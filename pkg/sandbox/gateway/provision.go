package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

const (
	// labelProvisioned marks what this gateway made; its value is the pool.
	labelProvisioned = "kubectl-infer.github.io/provisioned-for"
	pickerImage      = "kubectl-infer/endpoint-picker"
	pickerHealthPort = 9003
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

// createPicker makes what the manifests of an endpoint picker hold, named as
// the pool's picker reference. Each is left alone where it exists; the Service
// comes last, as its absence is what asks for all.
func (c *cluster) createPicker(ctx context.Context, m translate.MissingPicker) error {
	about := metav1.ObjectMeta{Name: m.Service, Namespace: m.Pool.Namespace, Labels: map[string]string{labelProvisioned: m.Pool.Name}}
	options := metav1.CreateOptions{FieldManager: fieldManager}
	_, saErr := c.core.CoreV1().ServiceAccounts(about.Namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: about}, options)
	_, roleErr := c.core.RbacV1().Roles(about.Namespace).Create(ctx, pickerRole(about), options)
	_, bindingErr := c.core.RbacV1().RoleBindings(about.Namespace).Create(ctx, pickerBinding(about), options)
	_, deploymentErr := c.core.AppsV1().Deployments(about.Namespace).Create(ctx, pickerDeployment(about, m), options)
	for _, err := range []error{saErr, roleErr, bindingErr, deploymentErr} {
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	_, err := c.core.CoreV1().Services(about.Namespace).Create(ctx, pickerService(about, m), options)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// pickerRole has the rights of the shipped one, manifests/endpoint-picker.
func pickerRole(about metav1.ObjectMeta) *rbacv1.Role {
	read := []string{"list", "watch"}
	return &rbacv1.Role{ObjectMeta: about, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: read},
		{
			APIGroups: []string{infv1.GroupName, translate.OldPoolGroup, "llm-d.ai"}, Verbs: read,
			Resources: []string{"inferencepools", "inferencemodels", "inferenceobjectives", "inferencemodelrewrites"},
		},
	}}
}

func pickerBinding(about metav1.ObjectMeta) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: about,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: about.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: about.Namespace, Name: about.Name}},
	}
}

func pickerDeployment(about metav1.ObjectMeta, m translate.MissingPicker) *appsv1.Deployment {
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	container := corev1.Container{
		Name: "picker", Image: pickerImage,
		Args: []string{
			"--pool-name=" + m.Pool.Name, "--pool-namespace=" + m.Pool.Namespace, "--pool-group=" + m.Group,
			fmt.Sprintf("--grpc-port=%d", m.Port), fmt.Sprintf("--grpc-health-port=%d", pickerHealthPort),
			"--metrics-port=9090", "--secure-serving=false",
		},
		Env:   []corev1.EnvVar{field("POD_NAMESPACE", "metadata.namespace"), field("POD_IP", "status.podIP")},
		Ports: []corev1.ContainerPort{{Name: "grpc", ContainerPort: m.Port}, {Name: "metrics", ContainerPort: 9090}},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: pickerHealthPort}},
			PeriodSeconds: 2,
		},
	}
	return &appsv1.Deployment{ObjectMeta: about, Spec: appsv1.DeploymentSpec{
		Replicas: ptr.To[int32](1),
		Selector: &metav1.LabelSelector{MatchLabels: about.Labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: about.Labels},
			Spec: corev1.PodSpec{
				ServiceAccountName: about.Name, Containers: []corev1.Container{container},
				TerminationGracePeriodSeconds: ptr.To[int64](60),
			},
		},
	}}
}

func pickerService(about metav1.ObjectMeta, m translate.MissingPicker) *corev1.Service {
	return &corev1.Service{ObjectMeta: about, Spec: corev1.ServiceSpec{
		Selector: about.Labels,
		Ports: []corev1.ServicePort{
			{Name: "grpc", Port: m.Port, TargetPort: intstr.FromString("grpc"), AppProtocol: ptr.To("kubernetes.io/h2c")},
			{Name: "metrics", Port: 9090, TargetPort: intstr.FromString("metrics")},
		},
	}}
}
