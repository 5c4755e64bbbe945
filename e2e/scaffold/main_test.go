package scaffold_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
	"github.com/kubectl-infer/kubectl-infer/plugin"
)

const (
	bin      = "../../bin"
	limit    = 4 * time.Minute // for the sandbox to be ready with all definitions, on a busy machine
	patience = time.Minute     // for anything that a test waits for
)

// suite is the sandbox that all tests share.
type suite struct {
	name, kubeconfig, kubectl string
	clients                   *kube.Clients
}

// shared holds it; TestMain sets it before any test runs.
var shared *suite

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	s := &suite{name: fmt.Sprintf("scaffold-%d", os.Getpid())}
	defer s.sandbox(context.Background(), "down")
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := s.start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bring up the suite's sandbox:", err)
		return 1
	}
	shared = s
	return m.Run()
}

func (s *suite) start(ctx context.Context) error {
	if out, err := s.sandbox(ctx, "up", "--detach"); err != nil {
		return fmt.Errorf("sandbox up: %w\n%s", err, out)
	}
	out, err := s.sandbox(ctx, "status", "-o", "json")
	if err != nil {
		return fmt.Errorf("sandbox status: %w\n%s", err, out)
	}
	if s.kubeconfig, err = kubeconfigIn(out, s.name); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return err
	}
	if s.clients, err = kube.ForConfig(config, "default"); err != nil {
		return err
	}
	store, err := assets.NewStore()
	if err != nil {
		return err
	}
	found, err := store.Obtain(ctx, nil, append(assets.ProviderDefinitions(), assets.Kubectl)...)
	if err != nil {
		return err
	}
	for _, asset := range found {
		if asset.Name == assets.Kubectl {
			s.kubectl = asset.Path
			continue
		}
		text, err := os.ReadFile(asset.Path)
		if err != nil {
			return err
		}
		if err := controlplane.InstallCRDs(ctx, config, ours(text)); err != nil {
			return err
		}
	}
	return nil
}

// ours are the definitions of kinds that we make: Istio has fifteen others.
func ours(text []byte) []byte {
	wanted := []string{
		"EnvoyExtensionPolicy", "HTTPRouteFilter", "DestinationRule", "EnvoyFilter", "AgentgatewayPolicy", "ServiceMonitor", "PodMonitor",
	}
	var kept [][]byte
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		if slices.ContainsFunc(wanted, func(kind string) bool { return bytes.Contains(document, []byte("\n    kind: "+kind+"\n")) }) {
			kept = append(kept, document)
		}
	}
	return bytes.Join(kept, []byte("\n---\n"))
}

func (s *suite) sandbox(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "kubectl-infer-sandbox"), args...)
	cmd.Env = append(os.Environ(), "KUBECTL_INFER_SANDBOX="+s.name)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		out = append(out, exit.Stderr...)
	}
	return string(out), err
}

// kubeconfigIn finds the sandbox called name in what status printed: one object,
// or a list of them.
func kubeconfigIn(out, name string) (string, error) {
	type state struct{ Name, Kubeconfig string }
	var list []state
	if json.Unmarshal([]byte(out), &list) != nil {
		var one state
		if err := json.Unmarshal([]byte(out), &one); err != nil {
			return "", fmt.Errorf("read sandbox status: %w\n%s", err, out)
		}
		list = []state{one}
	}
	for _, s := range list {
		if s.Name == name {
			return s.Kubeconfig, nil
		}
	}
	return "", fmt.Errorf("sandbox %s is not listed:\n%s", name, out)
}

// result is what a command line ended with.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", r.code, r.stdout, r.stderr)
}

// infer runs a command line in this process, as the admin of the sandbox.
func infer(t *testing.T, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	args = slices.Concat([]string{"kubectl-infer"}, args, []string{"--kubeconfig", shared.kubeconfig})
	code := plugin.Main(t.Context(), args, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	return result{code: code, stdout: out.String(), stderr: errOut.String()}
}

// must is infer for what has to succeed.
func must(t *testing.T, args ...string) result {
	t.Helper()
	r := infer(t, args...)
	if r.code != 0 {
		t.Fatalf("%s: %v", strings.Join(args, " "), r)
	}
	return r
}
