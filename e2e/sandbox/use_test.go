package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

// TestASandboxInUse shares one sandbox between what does not need its own.
func TestASandboxInUse(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	s := c.up(t, "use", "--image", "acme/agent=sleep", "--low-ports=off")
	apply(t, s, twoPods)
	mustKubectl(t, s, "wait", "--for=condition=Available", "deployment/server", "--timeout=30s")

	t.Run("a second up by the same name is refused with a hint", func(t *testing.T) { secondUp(t, c, s) })
	t.Run("run passes on its command's exit code, beside another sandbox", func(t *testing.T) { runsBeside(t, c, s) })
	t.Run("Jobs, init containers, sidecars and images of one's own run", func(t *testing.T) { podsOfAllKinds(t, s) })
	t.Run("kubectl logs", func(t *testing.T) { logs(t, s) })
	t.Run("kubectl exec", func(t *testing.T) { execs(t, s) })
	t.Run("kubectl exec with a terminal", func(t *testing.T) { execsInATerminal(t, s) })
	t.Run("kubectl attach", func(t *testing.T) { attaches(t, s) })
	t.Run("kubectl port-forward", func(t *testing.T) { forwards(t, s) })
	t.Run("break by pool, share of Pods and target model", func(t *testing.T) { breaks(t, c, s) })
	t.Run("a guide's objects are served by a picker that was provisioned", func(t *testing.T) { guide(t, s) })
	t.Run("nobody but the API server reaches the kubelet", func(t *testing.T) { kubeletIsClosed(t, s) })
	t.Run("Envoy killed is shown and started again", func(t *testing.T) { envoyHeals(t, c, s) })
}

func secondUp(t *testing.T, c cache, s sandbox.State) {
	for _, flag := range []string{"--detach", "--detach=false"} {
		out := c.run(t, "up", "--name", s.Name, flag)
		if out.code != 1 || !strings.Contains(out.stderr, "is already running") || !strings.Contains(out.stderr, "hint: ") {
			t.Errorf("up %s: %s", flag, out)
		}
	}
}

func runsBeside(t *testing.T, c cache, s sandbox.State) {
	out := c.run(t, "run", "--", "sh", "-c", "kubectl get --raw /readyz && echo at $GATEWAY; exit 7")
	if out.code != 7 || !strings.HasPrefix(out.stdout, "okat ") {
		t.Errorf("run: %s", out)
	}
	if strings.Contains(out.stdout, s.Gateway) {
		t.Errorf("both sandboxes have the gateway %s", s.Gateway)
	}
	mustKubectl(t, s, "get", "--raw", "/readyz")
}

func logs(t *testing.T, s sandbox.State) {
	if all := mustKubectl(t, s, "logs", "deploy/server"); !strings.Contains(all, "\n") {
		t.Errorf("kubectl logs prints %q", all)
	}
	if tail := mustKubectl(t, s, "logs", "deploy/server", "--tail=1"); strings.Count(tail, "\n") != 1 {
		t.Errorf("--tail=1 prints %q", tail)
	}
	if out := kubectl(t, s, "logs", "deploy/server", "--previous"); out.code == 0 {
		t.Errorf("--previous of a first run: %s", out)
	}
	apply(t, s, "{apiVersion: v1, kind: Pod, metadata: {name: flaky}, spec: {containers: [{name: c, image: busybox, command: [sleep, notanumber]}]}}")
	var out output
	eventually(t, "--previous prints the run before", func() bool {
		restarts := mustKubectl(t, s, "get", "pod", "flaky", "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
		out = kubectl(t, s, "logs", "flaky", "--previous")
		return restarts != "" && restarts != "0" && out.code == 0 && strings.Count(out.stdout, "notanumber") == 1
	}, func() string { return out.String() })
	mustKubectl(t, s, "delete", "pod", "flaky", "--grace-period=1")
	prints(t, s, "logs", "-f", "deploy/server", "--tail=0")
}

// attaches expects of attach what logs -f does, and an error for stdin.
func attaches(t *testing.T, s sandbox.State) {
	prints(t, s, "attach", "deploy/server")
	in := prepareKubectl(t.Context(), t, s, "attach", "-i", "sleeper")
	in.Stdin = strings.NewReader("x")
	if out := collect(t, in); out.code == 0 || !strings.Contains(out.stderr, "no stdin") {
		t.Errorf("attach -i: %s", out)
	}
}

// prints expects a kubectl that goes on to print what the server logs.
func prints(t *testing.T, s sandbox.State, args ...string) {
	t.Helper()
	follow := prepareKubectl(t.Context(), t, s, args...)
	stdout, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	ip := mustKubectl(t, s, "get", "pod", "-l", "app=server", "-o", "jsonpath={.items[0].status.podIP}")
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	go asks(ctx, "http://"+ip+":8000/v1/models")
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.Contains(line, "/v1/models") {
		t.Errorf("followed %q, %v", line, err)
	}
	_ = follow.Process.Kill()
	_ = follow.Wait()
}

// asks requests a URL again and again until ctx ends.
func asks(ctx context.Context, url string) {
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}
}

func execs(t *testing.T, s sandbox.State) {
	if got := mustKubectl(t, s, "exec", "deploy/server", "--", "sh", "-c", "echo $POD_IP; curl -s http://$POD_IP:8000/v1/models"); !strings.Contains(got, `"object"`) || !strings.HasPrefix(got, "127.") {
		t.Errorf("exec printed %q", got)
	}
	if out := kubectl(t, s, "exec", "sleeper", "--", "sh", "-c", "echo oops >&2; exit 7"); out.code != 7 || !strings.Contains(out.stderr, "oops") || out.stdout != "" {
		t.Errorf("a command's exit status and its stderr are not passed on: %s", out)
	}
	in := prepareKubectl(t.Context(), t, s, "exec", "-i", "sleeper", "--", "cat")
	in.Stdin = strings.NewReader("over there\n")
	if out := collect(t, in); out.stdout != "over there\n" {
		t.Errorf("stdin does not arrive: %s", out)
	}
	if out := kubectl(t, s, "exec", "sleeper", "--", "no-such-command"); out.code == 0 || !strings.Contains(out.stderr, "PATH") {
		t.Errorf("a command that is not there: %s", out)
	}
	if out := kubectl(t, s, "--context", s.Context+"-infer-ci", "exec", "sleeper", "--", "true"); out.code == 0 || !strings.Contains(out.stderr, "forbidden") {
		t.Errorf("whoever has no right to it may exec: %s", out)
	}
}

func forwards(t *testing.T, s sandbox.State) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	forward := prepareKubectl(ctx, t, s, "port-forward", "deploy/server", ":8000")
	stdout, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	found := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	if found == "" {
		t.Fatalf("port-forward says %q, %v", line, err)
	}
	for range 3 {
		response, err := http.Get("http://" + found + "/v1/models")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !strings.Contains(string(body), `"object"`) {
			t.Errorf("through port-forward: %q, %v", body, err)
		}
	}
	cancel()
	_ = forward.Wait() // it is killed
}

func breaks(t *testing.T, c cache, s sandbox.State) {
	apply(t, s, `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: servers}
spec:
  selector: {matchLabels: {app: server}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: none, port: {number: 9002}}
`)
	steps := []struct{ line, want, status string }{
		{
			"inferencepool/servers --slow 3 --model m --share 0.5", "deployment/server is 3x slower for 50% of requests for model m (1 pods)",
			"deployment/server in namespace default is 3x slower for 50% of requests for model m",
		},
		{"--reset inferencepool/servers", "deployment/server is healthy (1 pods)", ""},
		{"deployment/server --error-rate 0.5 --pods 0.5", " fails 50% of requests (1 pods)", " in namespace default fails 50% of requests"},
		{"--reset deployment/server", "deployment/server is healthy (1 pods)", ""},
	}
	for _, step := range steps {
		out := c.must(t, append([]string{"break", "--name", s.Name}, strings.Fields(step.line)...)...)
		if !strings.Contains(out.stdout, step.want) {
			t.Errorf("break %s: %s, want %q", step.line, out, step.want)
		}
		said := c.must(t, "status", "--name", s.Name)
		asJSON := c.must(t, "status", "--name", s.Name, "-o", "json")
		broken := step.status != ""
		if !strings.Contains(said.stderr, step.status) || strings.Contains(said.stderr, "namespace") != broken || strings.Contains(asJSON.stdout, `"faults"`) != broken {
			t.Errorf("after break %s status says %s and %s", step.line, said, asJSON)
		}
	}
	if left := mustKubectl(t, s, "get", "deployments,pods", "-o", "jsonpath={.items[*].metadata.annotations}"); strings.Contains(left, "/faults") {
		t.Errorf("faults are left: %s", left)
	}
}

func kubeletIsClosed(t *testing.T, s sandbox.State) {
	out := kubectl(t, s, "exec", "sleeper", "--", "curl", "-sk", "https://"+strings.TrimSuffix(s.Network, "0.0/16")+"0.2:10250/containerLogs/default/sleeper/sleeper")
	if out.code == 0 || out.stdout != "" {
		t.Errorf("the kubelet answers a stranger: %s", out)
	}
}

func envoyHeals(t *testing.T, c cache, s sandbox.State) {
	if err := syscall.Kill(s.PIDs["envoy"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var now sandbox.State
	eventually(t, "Envoy is started again and recorded", func() bool {
		now = c.state(t, s.Name)
		return now.PIDs["envoy"] != s.PIDs["envoy"] && now.Restarts["envoy"] == 1
	}, func() string { return fmt.Sprintf("%+v", now) })
	eventually(t, "the gateway answers", func() bool {
		response, err := http.Get("http://" + s.Gateway + "/")
		if err != nil {
			return false
		}
		response.Body.Close()
		return true
	}, func() string { return "" })
	if out := c.must(t, "status"); !strings.Contains(out.stderr, "envoy") || !strings.Contains(out.stderr, "started again") {
		t.Errorf("status does not tell of the crash: %s", out)
	}
}
