package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/traffic"
)

const (
	namespace = "default"
	bin       = "../../bin"
)

// suite is what all tests share: one sandbox with the example applied, and
// traffic to both of its pools.
type suite struct {
	name       string
	dir        string // absolute bin
	kubeconfig string // of the admin
	restricted string // of ciUser, for rollouts
	gateway    string
	clients    *kube.Clients
}

// lanes is how many tests, or runs of one test, go on side by side unless
// -parallel says otherwise. They wait for leases and bakes more than they work,
// so it is no matter of cores.
const lanes = 8

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", strconv.Itoa(lanes)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	s, err := newSuite()
	if err == nil {
		defer s.command(context.Background(), "sandbox", "down")
		err = s.prepare()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bring up the suite's sandbox:", err)
		return 1
	}
	ctx, stop := context.WithTimeout(context.Background(), 15*time.Minute)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := traffic.Run(ctx, traffic.Options{
			URL: "http://" + s.gateway, Mix: []traffic.ModelShare{{Model: "qwen", Weight: 1}}, Rate: 30, StreamingShare: 0.7, Seed: 1,
		}, func(traffic.Live) {})
		if err != nil {
			fmt.Fprintln(os.Stderr, "base traffic:", err)
		}
	}()
	shared.s = s
	code := m.Run()
	stop()
	<-done
	if err := s.checkAudit(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "FAIL: audit:", err)
		return 1
	}
	return code
}

// shared holds the suite; TestMain sets it before any test runs.
var shared struct{ s *suite }

func newSuite() (*suite, error) {
	dir, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"kubectl-infer", "kubectl-infer-sandbox"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return nil, fmt.Errorf("%w (run `make build` first)", err)
		}
	}
	return &suite{name: fmt.Sprintf("e2e-%d", os.Getpid()), dir: dir}, nil
}

// prepare starts the sandbox and applies the example: one route sends half of
// the traffic to each pool, so that both have counters from the start.
func (s *suite) prepare() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if out := s.command(ctx, "sandbox", "up", "--detach", "--audit"); out.code != 0 {
		return fmt.Errorf("sandbox up: exit %d\n%s", out.code, out.stderr)
	}
	out := s.command(ctx, "sandbox", "status", "-o", "json")
	var state struct{ Kubeconfig, Gateway string }
	if err := decodeState(out.stdout, s.name, &state); err != nil {
		return fmt.Errorf("sandbox status: %w\n%s%s", err, out.stdout, out.stderr)
	}
	s.kubeconfig, s.gateway = state.Kubeconfig, state.Gateway
	if err := s.restrict(); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return err
	}
	if s.clients, err = kube.ForConfig(config, namespace); err != nil {
		return err
	}
	if out := s.kubectl(ctx, "apply", "-k", "../../manifests/example"); out.code != 0 {
		return fmt.Errorf("apply the example: %s", out.stderr)
	}
	if out := s.kubectl(ctx, "wait", "--for=condition=Available", "--timeout=60s", "deployment", "--all"); out.code != 0 {
		return fmt.Errorf("wait for the example: %s", out.stderr)
	}
	_, err = s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace).Create(ctx, route("base", 50, 50), metav1.CreateOptions{})
	return err
}

// decodeState finds the sandbox called name in what status printed: one object,
// or a list of them.
func decodeState(out, name string, into any) error {
	var list []json.RawMessage
	if json.Unmarshal([]byte(out), &list) != nil {
		list = []json.RawMessage{json.RawMessage(out)}
	}
	for _, raw := range list {
		var head struct{ Name string }
		if err := json.Unmarshal(raw, &head); err != nil {
			return err
		}
		if head.Name == name {
			return json.Unmarshal(raw, into)
		}
	}
	return fmt.Errorf("sandbox %s is not listed", name)
}

type output struct {
	stdout, stderr string
	code           int
}

func (o output) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", o.code, o.stdout, o.stderr)
}

func (s *suite) env(kubeconfig string) []string {
	return append(os.Environ(), "KUBECONFIG="+kubeconfig, "KUBECTL_INFER_SANDBOX="+s.name)
}

// prepareCommand is kubectl-infer with the sandbox's environment.
func (s *suite) prepareCommand(ctx context.Context, kubeconfig string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "kubectl-infer"), args...)
	cmd.Env = s.env(kubeconfig)
	if len(args) > 0 && args[0] == "sandbox" {
		cmd.Args = append(cmd.Args, "--name", s.name)
	}
	return cmd
}

func (s *suite) command(ctx context.Context, args ...string) output {
	kubeconfig := s.kubeconfig
	if len(args) > 0 && args[0] == "canary" {
		kubeconfig = s.restricted
	}
	return collect(s.prepareCommand(ctx, kubeconfig, args...))
}

// kubectl runs the real kubectl inside the sandbox's environment.
func (s *suite) kubectl(ctx context.Context, args ...string) output {
	path := s.path()
	program := "kubectl"
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, "kubectl")); err == nil {
			program = found
			break
		}
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(s.env(s.kubeconfig), "PATH="+path)
	return collect(cmd)
}

// shell runs a command line that a program printed, as somebody would who types
// it.
func (s *suite) shell(ctx context.Context, line string) output {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Env = append(s.env(s.kubeconfig), "PATH="+s.path())
	return collect(cmd)
}

// path has our programs and the sandbox's kubectl first.
func (s *suite) path() string {
	dirs := append([]string{s.dir}, assetDirs(s.dir)...)
	return strings.Join(append(dirs, os.Getenv("PATH")), string(os.PathListSeparator))
}

// assetDirs are the folders of the programs the sandbox runs on.
func assetDirs(dir string) []string {
	raw, err := exec.Command(filepath.Join(dir, "kubectl-infer-sandbox"), "assets", "-o", "json").Output()
	if err != nil {
		return nil
	}
	var assets []struct{ Name, Path string }
	if json.Unmarshal(raw, &assets) != nil {
		return nil
	}
	for _, a := range assets {
		if a.Name == "kubectl" {
			return []string{filepath.Dir(a.Path)}
		}
	}
	return nil
}

func collect(cmd *exec.Cmd) output {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := output{stdout: stdout.String(), stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		out.code = exit.ExitCode()
	case err != nil:
		out.code, out.stderr = -1, out.stderr+err.Error()
	}
	return out
}

// route is an HTTPRoute with a rule of its own (header x-route) over the two
// pools of the example; a negative canary weight leaves the canary out.
func route(name string, stable, canary int64) *unstructured.Unstructured {
	ref := func(pool string, weight int64) any {
		return map[string]any{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": pool, "weight": weight}
	}
	refs := []any{ref("qwen-v1", stable)}
	if canary >= 0 {
		refs = append(refs, ref("qwen-v2", canary))
	}
	match := map[string]any{"name": "X-Gateway-Model-Name", "type": "Exact", "value": "qwen"}
	headers := []any{match}
	if name != "base" {
		headers = append(headers, map[string]any{"name": "x-route", "type": "Exact", "value": name})
	} else {
		// One header more than the example's route, so that base wins.
		headers = append(headers, map[string]any{"name": "user-agent", "type": "RegularExpression", "value": ".*"})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
		"metadata": map[string]any{"name": name, "namespace": namespace, "labels": map[string]any{"app": name}},
		"spec": map[string]any{
			"parentRefs": []any{map[string]any{"name": "inference-gateway"}},
			"rules": []any{map[string]any{
				"matches":     []any{map[string]any{"headers": headers}},
				"backendRefs": refs,
			}},
		},
	}}
}

// newRoute creates a route for one test and waits until the gateway took it.
func newRoute(t *testing.T, name string, stable, canary int64) *unstructured.Unstructured {
	t.Helper()
	s := shared.s
	grant(t, name)
	routes := s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace)
	if _, err := routes.Create(t.Context(), route(name, stable, canary), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := routes.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	var got *unstructured.Unstructured
	eventually(t, 15*time.Second, "route "+name+" is accepted", func() bool {
		var err error
		got, err = routes.Get(t.Context(), name, metav1.GetOptions{})
		parents, _, _ := unstructured.NestedSlice(got.Object, "status", "parents")
		return err == nil && len(parents) > 0 && !strings.Contains(fmt.Sprint(parents), "False")
	})
	return got
}

func getRoute(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	got, err := shared.s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// given is what a rollout must give back exactly.
func given(route *unstructured.Unstructured) string {
	raw, err := json.Marshal([]any{route.Object["spec"], route.GetLabels(), route.GetAnnotations()})
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// canaryWeight is the weight of qwen-v2 in the route's only rule; -1 if absent.
func canaryWeight(route *unstructured.Unstructured) int64 {
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	rule, _ := rules[0].(map[string]any)
	refs, _ := rule["backendRefs"].([]any)
	for _, ref := range refs {
		m, _ := ref.(map[string]any)
		if m["name"] == "qwen-v2" {
			w, _ := m["weight"].(int64)
			return w
		}
	}
	return -1
}

// eventually waits until ok, looking at the world again on every tick.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("after %v still not so: %s", limit, what)
		}
	}
}

// quick are the flags of a rollout short enough for a test.
func quick(name, steps string, more ...string) []string {
	args := []string{
		"canary", "run", "httproute/" + name, "--stable", "qwen-v1", "--canary", "qwen-v2", "--steps", steps,
		"--calibrate", "0", "--bake", "300ms", "--settle", "100ms", "--scrape-interval", "100ms", "--min-requests", "1",
		"--gate", "errors < 5%", "--gate", "ttft p95 < 2s", "--lease-duration", "1s", "--ignore-share", // the suite's traffic comes by a route of its own
	}
	return append(args, more...)
}
