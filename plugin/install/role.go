package install

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
)

// request is what a role is for.
type request struct {
	namespace string
	kind      target.Kind
	names     []string // of the targets, sorted: the first has the journal
	subject   rbacv1.Subject
	via       evidence.Via
	mirror    bool // may also mirror
}

// name of every object: the journal's.
func (r request) name() string { return journal.Name(r.kind.Name, r.names[0]) }

// objects are all that a rollout's user needs, in the order of creation. The
// journal and the lease are there from the start, so that the role can do
// without create, which no resourceName can bound.
func (r request) objects() []apply.Object {
	meta := metav1.ObjectMeta{Name: r.name(), Namespace: r.namespace, Labels: scaffold.Labels("install-rbac")}
	list := []apply.Object{
		{Keep: true, Object: &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: meta}},
		{Keep: true, Object: &coordinationv1.Lease{TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"}, ObjectMeta: meta}},
		{Object: &rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"}, ObjectMeta: meta, Rules: r.rules()}},
		{Object: &rbacv1.RoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"}, ObjectMeta: meta,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: r.name()},
			Subjects: []rbacv1.Subject{r.subject},
		}},
	}
	return list
}

// rules are every verb that plan, run, status and the other verbs of canary,
// and with mirror those of mirror, use; the cluster tests run under them and read the audit log.
func (r request) rules() []rbacv1.PolicyRule {
	own := []string{r.name()}
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{r.kind.Resource.Group}, Resources: []string{r.kind.Resource.Resource}, ResourceNames: r.names, Verbs: []string{"get", "patch", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: own, Verbs: []string{"get", "update"}},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: own, Verbs: []string{"get", "update"}},
		{APIGroups: []string{kube.InferencePools().Group, kube.AlphaInferencePools().Group}, Resources: []string{"inferencepools"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
	}
	if r.kind.Resource != kube.HTTPRoutes() { // two objects may claim one model name
		rules = append(rules,
			rbacv1.PolicyRule{
				APIGroups: []string{kube.InferenceModels().Group, kube.LLMDModelRewrites().Group},
				Resources: []string{kube.InferenceModels().Resource, kube.ModelRewrites().Resource}, Verbs: []string{"list"},
			})
	}
	if r.via == evidence.Auto || r.via == evidence.PodProxy { // get a page; create asks for a token, or loads an adapter
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/proxy"}, Verbs: []string{"create", "get"}})
	}
	if r.via == evidence.Auto || r.via == evidence.PortForward {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{"create", "get"}})
	}
	if r.mirror {
		rules = append(rules, r.mirrorRules()...)
	}
	return rules
}

// mirrorRules are what the verbs of mirror use beside those of canary. A name
// cannot bound create, so a mirror to a pool needs it for every Service; one to a
// Service that is there does without.
func (r request) mirrorRules() []rbacv1.PolicyRule {
	var services []string
	for _, name := range r.names {
		services = append(services, scaffold.ShadowName(name))
	}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"services"}, ResourceNames: services, Verbs: []string{"delete"}},
		{APIGroups: []string{kube.Gateways().Group}, Resources: []string{"gateways"}, Verbs: []string{"get"}},
	}
}
