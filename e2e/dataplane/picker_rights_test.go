package dataplane

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	pickerserver "github.com/kubectl-infer/kubectl-infer/picker/server"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// apiServer is a real API server with the inference extension's definitions, and a
// kubeconfig for the ServiceAccount of manifests/endpoint-picker.
type apiServer struct {
	t                *testing.T
	client           dynamic.Interface
	kubeconfig, logs string
}

const pickerAccount = "system:serviceaccount:default:picker"

func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	dir := t.TempDir()
	starter := process.NewStarter()
	t.Cleanup(starter.Close)
	a := &apiServer{t: t, kubeconfig: filepath.Join(dir, "kubeconfig"), logs: filepath.Join(dir, "logs")}
	c, err := controlplane.Start(t.Context(), controlplane.Options{
		Starter: starter, Etcd: findAsset(t, assets.Etcd), KubeAPIServer: findAsset(t, assets.KubeAPIServer),
		Dir: filepath.Join(dir, "state"), LogDir: a.logs, Address: ownNetwork(t), Audit: true,
	})
	a.check(err)
	t.Cleanup(c.Stop)
	a.check(c.WriteKubeconfig(a.kubeconfig, "test"))
	config, err := clientcmd.LoadFromFile(a.kubeconfig)
	a.check(err)
	for _, user := range config.AuthInfos {
		user.Impersonate, user.ImpersonateGroups = pickerAccount, []string{"system:serviceaccounts", "system:authenticated"}
	}
	a.check(clientcmd.WriteToFile(*config, a.kubeconfig))
	a.check(controlplane.EnsureDefaults(t.Context(), c.AdminConfig(), "default"))
	a.check(controlplane.InstallCRDs(t.Context(), c.AdminConfig(), definitions(t)...))
	a.client, err = dynamic.NewForConfig(c.AdminConfig())
	a.check(err)
	rbac, err := os.ReadFile("../../manifests/endpoint-picker/rbac.yaml")
	a.check(err)
	for document := range strings.SplitSeq(string(rbac), "\n---\n") {
		a.create(document)
	}
	return a
}

// ownNetwork locks a 127.N.0.0/16 as a sandbox does.
func ownNetwork(t *testing.T) string {
	t.Helper()
	for n := 180; n < 250; n++ {
		if lock, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:9999", n)); err == nil {
			t.Cleanup(func() { lock.Close() })
			return fmt.Sprintf("127.%d.0.1", n)
		}
	}
	t.Fatal("every 127.N.0.0/16 from 180 to 249 is taken")
	return ""
}

// definitions are those of the inference extension, where a rewrite's list is
// called targets, and those of llm-d's group, where it is called split here.
func definitions(t *testing.T) [][]byte {
	t.Helper()
	var out [][]byte
	for _, name := range []string{assets.InferencePoolCRDs, assets.InferenceModelCRDs, assets.ModelRewriteCRDs} {
		text, err := os.ReadFile(findAsset(t, name))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
		if name == assets.ModelRewriteCRDs {
			moved := strings.ReplaceAll(string(text), "inference.networking.x-k8s.io", "llm-d.ai")
			moved = strings.ReplaceAll(moved, "targets:", "split:")
			out = append(out, []byte(strings.ReplaceAll(moved, "- targets", "- split")))
		}
	}
	return out
}

func (a *apiServer) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *apiServer) resource(u *unstructured.Unstructured) dynamic.ResourceInterface {
	kind := u.GroupVersionKind()
	return a.client.Resource(schema.GroupVersionResource{
		Group: kind.Group, Version: kind.Version, Resource: strings.ToLower(kind.Kind) + "s",
	}).Namespace("default")
}

func (a *apiServer) create(text string) *unstructured.Unstructured {
	a.t.Helper()
	u := &unstructured.Unstructured{}
	a.check(yaml.Unmarshal([]byte(text), &u.Object))
	made, err := a.resource(u).Create(a.t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		a.t.Fatalf("%v\n%s", err, text)
	}
	return made
}

func (a *apiServer) addPod(name, ip, ready string) *unstructured.Unstructured {
	a.t.Helper()
	u := a.create("{apiVersion: v1, kind: Pod, metadata: {name: " + name + ", labels: {app: m}}, spec: {containers: [{name: c, image: x}]}}")
	return a.setPod(u, ip, ready)
}

func (a *apiServer) setPod(u *unstructured.Unstructured, ip, ready string) *unstructured.Unstructured {
	a.t.Helper()
	u.Object["status"] = map[string]any{
		"phase": "Running", "podIP": ip, "podIPs": []any{map[string]any{"ip": ip}},
		"conditions": []any{map[string]any{"type": "Ready", "status": ready}},
	}
	u, err := a.resource(u).UpdateStatus(a.t.Context(), u, metav1.UpdateOptions{})
	a.check(err)
	return u
}

// pickerProgram is the endpoint picker as it runs in a Pod, in this process.
type pickerProgram struct {
	t    *testing.T
	page netip.AddrPort
}

func startPickerProgram(t *testing.T, args ...string) *pickerProgram {
	t.Helper()
	p := &pickerProgram{t: t, page: freeAddress(t)}
	args = append([]string{
		"--bind-address=" + p.page.Addr().String(), "--secure-serving=false", "--grpc-port=0", "--grpc-health-port=0", fmt.Sprint("--metrics-port=", p.page.Port()),
		"--drain-window=0s", "--scrape-timeout=50ms",
	}, args...)
	ctx, done := t.Context(), make(chan error, 1)
	go func() { done <- pickerserver.Main(ctx, args, t.Output()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// get returns a page, "" where it is not served or says no.
func (p *pickerProgram) get(path string) string {
	response, err := http.Get("http://" + p.page.String() + path)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return ""
	}
	return string(text)
}

func (p *pickerProgram) says(family, label string, value int) func() bool {
	return func() bool {
		for line := range strings.Lines(p.get("/metrics")) {
			if strings.HasPrefix(line, family) && strings.Contains(line, label) {
				return strings.HasSuffix(strings.TrimSpace(line), fmt.Sprint(" ", value))
			}
		}
		return false
	}
}

// Under exactly the Role that we ship, the picker follows a pool of either version,
// its Pods and every kind of rule on a real API server, and asks for nothing else.
func TestThePickerFollowsARealAPIServerUnderTheShippedRole(t *testing.T) {
	a := startAPIServer(t)
	t.Setenv("KUBECONFIG", a.kubeconfig)
	t.Run("running", func(t *testing.T) { followAPIServer(t, a) })
	a.checkAudit()
}

func followAPIServer(t *testing.T, a *apiServer) {
	a = &apiServer{t: t, client: a.client}
	v1 := startPickerProgram(t, "--pool-name=p", "--pool-namespace=default")
	alpha := startPickerProgram(t, "--pool-name=old", "--pool-namespace=default", "--pool-group=inference.networking.x-k8s.io")
	eventually(t, "both run", func() bool { return v1.get("/metrics") != "" && alpha.get("/metrics") != "" })
	if v1.get("/readyz") != "" || alpha.get("/readyz") != "" {
		t.Error("ready before the pool was seen")
	}
	a.create(`{apiVersion: inference.networking.k8s.io/v1, kind: InferencePool, metadata: {name: p}, spec: {selector: {matchLabels: {app: m}}, targetPorts: [{number: 8000}, {number: 8001}], endpointPickerRef: {name: picker, port: {number: 9002}}}}`)
	a.create(`{apiVersion: inference.networking.x-k8s.io/v1alpha2, kind: InferencePool, metadata: {name: old}, spec: {selector: {app: m}, targetPortNumber: 8000, extensionRef: {name: picker}}}`)
	eventually(t, "both are ready", func() bool { return v1.get("/readyz") != "" && alpha.get("/readyz") != "" })

	const ready = "infer_picker_ready_endpoints"
	first := a.addPod("first", "127.0.0.2", "True")
	second := a.addPod("second", "127.0.0.3", "False")
	eventually(t, "each port of the ready pod", v1.says(ready, "", 2))
	eventually(t, "the one port of v1alpha2", alpha.says(ready, "", 1))
	a.setPod(second, "127.0.0.3", "True")
	eventually(t, "the pod that became ready", v1.says(ready, "", 4))
	zero := int64(0)
	a.check(a.resource(first).Delete(t.Context(), "first", metav1.DeleteOptions{GracePeriodSeconds: &zero}))
	eventually(t, "the pod that went", v1.says(ready, "", 2))

	const unloaded = "infer_picker_target_unloaded"
	a.create(`{apiVersion: inference.networking.x-k8s.io/v1alpha2, kind: InferenceModel, metadata: {name: chat}, spec: {modelName: chat, poolRef: {name: p, group: inference.networking.k8s.io}, targetModels: [{name: of-model, weight: 1}]}}`)
	a.create(`{apiVersion: inference.networking.x-k8s.io/v1alpha2, kind: InferenceModelRewrite, metadata: {name: new}, spec: {poolRef: {name: p}, rules: [{matches: [{model: {type: Exact, value: x}}], targets: [{modelRewrite: of-targets, weight: 1}], split: [{modelRewrite: pruned, weight: 1}]}]}}`)
	a.create(`{apiVersion: llm-d.ai/v1alpha2, kind: InferenceModelRewrite, metadata: {name: old}, spec: {poolRef: {name: p}, rules: [{matches: [{model: {type: Exact, value: z}}], split: [{modelRewrite: of-split, weight: 1}], targets: [{modelRewrite: pruned, weight: 1}]}]}}`)
	a.create(`{apiVersion: inference.networking.x-k8s.io/v1alpha2, kind: InferenceObjective, metadata: {name: urgent}, spec: {priority: 5, poolRef: {name: p}}}`)
	for _, target := range []string{"of-model", "of-targets", "of-split"} {
		eventually(t, "the rule to "+target, v1.says(unloaded, `"`+target+`"`, 0))
	}
	if page := v1.get("/metrics"); strings.Contains(page, "pruned") {
		t.Error("a list that the schema does not have is in force")
	}
	if page := alpha.get("/metrics"); strings.Contains(page, "of-targets") {
		t.Error("a rule for another pool is in force")
	}
}

// checkAudit reads what the API server wrote down of the picker: reading only, and
// nothing refused.
func (a *apiServer) checkAudit() {
	a.t.Helper()
	raw, err := os.ReadFile(filepath.Join(a.logs, "audit.log"))
	a.check(err)
	seen := map[string]bool{}
	for line := range bytes.Lines(raw) {
		var event struct {
			Verb             string
			RequestURI       string
			ImpersonatedUser *struct{ Username string }
			ObjectRef        *struct{ Resource, Namespace string }
			ResponseStatus   struct{ Code int }
		}
		if json.Unmarshal(line, &event) != nil || event.ImpersonatedUser == nil || event.ImpersonatedUser.Username != pickerAccount || event.ObjectRef == nil || event.ObjectRef.Resource == "" {
			continue // somebody else's, or discovery
		}
		seen[event.ObjectRef.Resource] = true
		if event.Verb != "list" && event.Verb != "watch" || event.ResponseStatus.Code >= 400 || event.ObjectRef.Namespace != "default" {
			a.t.Errorf("the picker asked %s %s and got %d", event.Verb, event.RequestURI, event.ResponseStatus.Code)
		}
	}
	for _, resource := range []string{"pods", "inferencepools", "inferencemodels", "inferencemodelrewrites", "inferenceobjectives"} {
		if !seen[resource] {
			a.t.Errorf("no request for %s was written down", resource)
		}
	}
}
