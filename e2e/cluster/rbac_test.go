package cluster_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-infer/kubectl-infer/plugin"
)

// ciUser is the sandbox's user without any right of its own: every rollout of
// this suite is his, under the role that `install rbac` made for its target.
const ciUser = "infer-ci"

// restrict writes a kubeconfig whose current context is ciUser's.
func (s *suite) restrict() error {
	config, err := clientcmd.LoadFromFile(s.kubeconfig)
	if err != nil {
		return err
	}
	config.CurrentContext += "-" + ciUser
	s.restricted = filepath.Join(filepath.Dir(s.kubeconfig), "restricted.kubeconfig")
	return clientcmd.WriteToFile(*config, s.restricted)
}

// grant makes the role for httproute/name, with names that move with it.
func grant(t *testing.T, names ...string) {
	t.Helper()
	args := []string{"kubectl-infer", "install", "rbac", "--kubeconfig", shared.s.kubeconfig, "--user-name", ciUser, "--metrics-via", "auto"}
	for _, name := range names {
		args = append(args, "--for", "httproute/"+name)
	}
	var out bytes.Buffer
	if code := plugin.Main(t.Context(), args, genericiooptions.IOStreams{Out: &out, ErrOut: &out}); code != 0 {
		t.Fatalf("install rbac for %v: exit %d: %s", names, code, out.String())
	}
}

// checkAudit reads what the API server wrote down of ciUser: nothing but what
// the role allows, and nothing refused.
func (s *suite) checkAudit() error {
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(s.kubeconfig), "logs", "audit.log"))
	if err != nil {
		return err
	}
	allowed := []string{
		"get httproutes", "patch httproutes", "watch httproutes", "get configmaps", "update configmaps", "get leases", "update leases",
		"get inferencepools", "get services", "list pods", "get pods/proxy", "create pods/portforward", "get pods/portforward",
		"get inferencemodelrewrites", "patch inferencemodelrewrites", "watch inferencemodelrewrites", "list inferencemodelrewrites", "list inferencemodels",
	}
	seen := map[string]int{}
	for line := range bytes.Lines(raw) {
		var event struct {
			Verb      string
			User      struct{ Username string }
			ObjectRef struct{ Resource, Subresource, Name string }
			Status    struct{ Code int } `json:"responseStatus"`
		}
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("read audit log: %w: %s", err, line)
		}
		if event.User.Username != ciUser {
			continue
		}
		what := strings.TrimSuffix(event.Verb+" "+event.ObjectRef.Resource+"/"+event.ObjectRef.Subresource, "/")
		seen[what]++
		if !slices.Contains(allowed, what) || event.Status.Code == 403 {
			return fmt.Errorf("the restricted user did %q on %q with code %d", what, event.ObjectRef.Name, event.Status.Code)
		}
	}
	whole := flag.Lookup("test.run").Value.String() == ""
	for _, what := range allowed[:7] {
		if whole && seen[what] == 0 {
			return fmt.Errorf("the audit log shows no %q: the suite did not run under the role", what)
		}
	}
	fmt.Fprintf(os.Stderr, "audit log of %s: %v\n", ciUser, seen)
	return nil
}

func TestARoleIsInstalledAndTakenAway(t *testing.T) {
	t.Parallel()
	newRoute(t, "granted", 100, 0)
	admin := func(args ...string) output {
		return collect(shared.s.prepareCommand(t.Context(), shared.s.kubeconfig, args...))
	}
	tests := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a dry run makes nothing", []string{"install", "--service-account", "ci", "--dry-run", "server"}, 0, "role.rbac.authorization.k8s.io/infer-httproute-granted serverside-applied (server dry run)"},
		{"printing makes nothing", []string{"install", "--service-account", "ci", "--dry-run=client", "-o", "yaml"}, 0, "resourceNames:\n  - granted\n"},
		{"a role is made again", []string{"install", "--user-name", ciUser}, 0, "configmap/infer-httproute-granted unchanged"},
		{"nobody to give it to", []string{"install"}, 2, "hint: --service-account ci"},
		{"it is taken away", []string{"uninstall"}, 0, "role.rbac.authorization.k8s.io/infer-httproute-granted deleted"},
		{"and again", []string{"uninstall"}, 0, "role.rbac.authorization.k8s.io/infer-httproute-granted is not there"},
	}
	for _, tt := range tests {
		args := append([]string{tt.args[0], "rbac", "--for", "httproute/granted"}, tt.args[1:]...)
		if out := admin(args...); out.code != tt.code || !strings.Contains(out.stdout+out.stderr, tt.says) {
			t.Errorf("%s: want exit %d and %q: %v", tt.name, tt.code, tt.says, out)
		}
	}
	if out := shared.s.kubectl(t.Context(), "get", "role,rolebinding,lease,configmap", "-o", "name"); strings.Contains(out.stdout, "infer-httproute-granted") {
		t.Errorf("left over: %v", out)
	}
}
