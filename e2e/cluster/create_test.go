package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// step is one command of a session, and what it must end with and say.
type step struct {
	name, command string
	code          int
	says          []string
}

func admin(t *testing.T, command string) output {
	t.Helper()
	return collect(shared.s.prepareCommand(t.Context(), shared.s.kubeconfig, strings.Fields(command)...))
}

func session(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		out := admin(t, s.command)
		if out.code != s.code {
			t.Errorf("%s: want exit %d: %v", s.name, s.code, out)
		}
		for _, text := range s.says {
			if !strings.Contains(out.stdout+out.stderr, text) {
				t.Errorf("%s: %q is not said: %v", s.name, text, out)
			}
		}
	}
}

// TestTheAPIServerTakesWhatCreateMakes sends everything create can make through
// the real definitions, at the limits too; nothing is kept.
func TestTheAPIServerTakesWhatCreateMakes(t *testing.T) {
	t.Parallel()
	names := func(prefix string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ",%s/%d", prefix, i)
		}
		return b.String()
	}
	session(t, []step{
		{
			"130 names are two routes, each within the limits", "create route limits --dry-run=server --timeout 1h30m --model a/base=qwen-v1" + names("a", 127) + " --model b=qwen-v2,b2", 0,
			[]string{"httproute.gateway.networking.k8s.io/limits-2 serverside-applied (server dry run)", "configmap/limits-a-base-adapters"},
		},
		{
			"every limit of a route", "create policy limits --dry-run=server --route chat --max-concurrent 2 --max-pending 1 --timeout 24h --retry 2 --buffer 20Mi", 0,
			[]string{"backendtrafficpolicy.gateway.envoyproxy.io/limits", "clienttrafficpolicy.gateway.envoyproxy.io/limits", "of the whole Gateway inference-gateway"},
		},
		{"a limit of one rule", "create policy limits --dry-run=server --route chat --rule chat --max-concurrent 2", 0, []string{"backendtrafficpolicy.gateway.envoyproxy.io/limits"}},
		{"a rule that the route does not have", "create policy limits --dry-run=server --route chat --rule nope --max-concurrent 2", 16, []string{"httproute chat has no rule called nope", "hint: rules with names: chat"}},
		{"an older route has the same match", "create route younger --dry-run=server --model qwen=qwen-v2", 0, []string{"default/chat (rule chat) has the same match and is older: httproute younger gets no request for qwen"}},
		{"a route of somebody else", "create route chat --dry-run=server --model qwen=qwen-v1", 1, []string{`conflicts with "kubectl`, "hint: leave it to its owner"}},
		{"one name for two pools", "create route x --model qwen=qwen-v1 --model q=qwen-v2,qwen", 2, []string{"pools qwen-v1 and qwen-v2", "hint: "}},
		{"a Gateway that is not there", "create route x --model qwen=qwen-v1 --gateway nope", 1, []string{"hint: --gateway inference-gateway"}},
	})
}

// TestASeededMessIsFoundWhole makes one of everything in a namespace of its own,
// beside objects of others, and takes exactly ours away.
func TestASeededMessIsFoundWhole(t *testing.T) {
	t.Parallel()
	core := shared.s.clients.Core.CoreV1()
	if _, err := core.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "mess"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	configMap := func(name, owner, record string) *corev1.ConfigMap {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/managed-by": owner}}}
		if record != "" {
			cm.Data = map[string]string{"record.json": fmt.Sprintf(`{"format":1,"phase":%q,"goal":5,"plan":{"target":"httproute/x"}}`, record)}
		}
		return cm
	}
	for _, cm := range []*corev1.ConfigMap{configMap("infer-httproute-x", "kubectl-infer", "Raising"), configMap("others", "helm", "Promoted"), configMap("infer-like", "", "")} {
		if _, err := core.ConfigMaps("mess").Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	session(t, []step{
		{"a route and its adapter map", "create route r -n mess --gateway default/inference-gateway --model mess=pool,adapter", 0, []string{"httproute.gateway.networking.k8s.io/r serverside-applied", "is not there yet"}},
		{"and again: idempotent", "create route r -n mess --gateway default/inference-gateway --model mess=pool,adapter -o name", 0, []string{"configmap/r-mess-adapters"}},
		{"a role", "install rbac -n mess --for httproute/r --service-account ci", 0, []string{"role.rbac.authorization.k8s.io/infer-httproute-r"}},
		{"all of it is listed", "get leftovers -n mess", 0, []string{
			"httproute.gateway.networking.k8s.io/r ", "configmap/r-mess-adapters", "role.rbac", "rolebinding.rbac", "lease.coordination.k8s.io/infer-httproute-r",
			"configmap/infer-httproute-x", "rollout of httproute/x: raising at 5%",
		}},
		{"a rollout that is not over stops all", "delete --all-created -n mess", 16, []string{"so nothing is deleted", "hint: "}},
	})
	if _, err := core.ConfigMaps("mess").Update(t.Context(), configMap("infer-httproute-x", "kubectl-infer", "Promoted"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	session(t, []step{
		{"a dry run deletes nothing", "delete --all-created -n mess --dry-run=server", 0, []string{"configmap/infer-httproute-x deleted (server dry run)"}},
		{"all of it goes", "delete --all-created -n mess", 0, []string{"httproute.gateway.networking.k8s.io/r deleted", "configmap/infer-httproute-x deleted"}},
		{"nothing is left", "get leftovers -n mess", 0, []string{"nothing of kubectl-infer's"}},
	})
	left, err := core.ConfigMaps("mess").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 2 {
		t.Errorf("of others' ConfigMaps %d are left, want 2: %v", len(left.Items), err)
	}
}
