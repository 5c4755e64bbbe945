package sandbox

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

// TestAGatewayThatIsWrongOnPurpose has the switches of up that do not exclude
// each other in one sandbox; single-pool-rule has one of its own.
func TestAGatewayThatIsWrongOnPurpose(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	s := c.up(t, "wrong", "--defect", "one-epp-per-rule,ignore-weights", "--defect", "always-fail-closed", "--picker-mode", "full-duplex", "--provision-pickers=false")
	example(t, s)
	admin := "http://" + strings.TrimSuffix(s.Network, "0.0/16") + "0.3:"

	t.Run("full-duplex: Envoy streams bodies to the pickers", func(t *testing.T) {
		if dump := get(t, admin+"9901/config_dump"); !strings.Contains(dump, "FULL_DUPLEX_STREAMED") {
			t.Errorf("Envoy's configuration does not have it")
		}
	})
	answers(t, s, http.StatusOK)
	for range 20 {
		if code, body := ask(t, s); code != http.StatusOK {
			t.Fatalf("got %d: %s", code, body)
		}
	}
	t.Run("ignore-weights: the pool of weight 0 is served", func(t *testing.T) {
		if log := mustKubectl(t, s, "logs", "deploy/qwen-v2"); !strings.Contains(log, "POST /v1/chat/completions") {
			t.Errorf("its server logged\n%s", log)
		}
	})
	t.Run("one-epp-per-rule: the other pool's picker is asked, as the mismatches show", func(t *testing.T) {
		var page string
		eventually(t, "mismatches are counted", func() bool {
			page = get(t, admin+"9902/metrics")
			return regexp.MustCompile(`(?m)^infer_gateway_mismatches_total [1-9]`).MatchString(page)
		}, func() string { return page })
	})
	t.Run("one-epp-per-rule: verify tells, though the pickers' split is the one asked for", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(programPath(t)), "kubectl-infer"), "verify", "split", "httproute/chat", "--rate", "400")
		cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig)
		if out := collect(t, cmd); out.code != 18 || !strings.Contains(out.stdout, "the wrong picker is asked") {
			t.Errorf("got %s", out)
		}
	})
	t.Run("provision-pickers=false: a missing picker stays missing", func(t *testing.T) { unprovisioned(t, s) })
	t.Run("always-fail-closed: FailOpen without a picker is refused", func(t *testing.T) {
		mustKubectl(t, s, "patch", "inferencepool.inference.networking.k8s.io", "qwen-v1", "qwen-v2", "--type=merge", "-p", `{"spec":{"endpointPickerRef":{"failureMode":"FailOpen"}}}`)
		mustKubectl(t, s, "scale", "deployment", "qwen-v1-picker", "qwen-v2-picker", "--replicas=0")
		answers(t, s, http.StatusServiceUnavailable)
	})
}

func TestAGatewayThatTakesOnePoolPerRule(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	s := c.up(t, "single", "--defect", "single-pool-rule")
	example(t, s)
	says := "jsonpath={.status.parents[0].conditions[?(@.type=='Accepted')].message}"
	var said string
	eventually(t, "the route of two pools is refused", func() bool {
		said = mustKubectl(t, s, "get", "httproute", "chat", "-o", says)
		return strings.Contains(said, "more than one InferencePool in a rule is not supported")
	}, func() string { return said })
	answers(t, s, http.StatusNotFound)
	mustKubectl(t, s, "patch", "httproute", "chat", "--type=json", "-p", `[{"op":"remove","path":"/spec/rules/0/backendRefs/1"}]`)
	answers(t, s, http.StatusOK) // one is served
}

// example applies manifests/example and waits for it.
func example(t *testing.T, s sandbox.State) {
	t.Helper()
	dir, err := filepath.Abs("../../manifests/example")
	if err != nil {
		t.Fatal(err)
	}
	mustKubectl(t, s, "apply", "-k", dir)
	mustKubectl(t, s, "wait", "--for=condition=Available", "deployment", "--all", "--timeout=60s")
}

// answers waits until the gateway answers so.
func answers(t *testing.T, s sandbox.State, want int) {
	t.Helper()
	var code int
	var body string
	eventually(t, fmt.Sprint("the gateway answers ", want), func() bool {
		code, body = ask(t, s)
		return code == want
	}, func() string { return fmt.Sprint(code, " ", body) })
}

func ask(t *testing.T, s sandbox.State) (int, string) {
	t.Helper()
	response, err := http.Post("http://"+s.Gateway+"/v1/chat/completions", "application/json",
		strings.NewReader(`{"model":"qwen","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// unprovisioned applies a guide's objects where nothing is provisioned; and
// where port 80 may be bound, it is.
func unprovisioned(t *testing.T, s sandbox.State) {
	apply(t, s, guideObjects)
	mustKubectl(t, s, "wait", "--for=condition=Programmed", "gateway/guide", "--timeout=20s")
	var status string
	eventually(t, "the pool says that its picker is missing", func() bool {
		status = mustKubectl(t, s, "get", "inferencepool.inference.networking.x-k8s.io", "guide", "-o", "jsonpath={.status}")
		return strings.Contains(status, "InvalidExtensionRef")
	}, func() string { return status })
	if out := kubectl(t, s, "get", "service", "guide-ext-proc"); out.code == 0 {
		t.Errorf("there is one: %s", out)
	}
	address, port := mustKubectl(t, s, "get", "gateway/guide", "-o", "jsonpath={.status.addresses[0].value}"), ":8080"
	if os.Geteuid() == 0 {
		port = ":80"
	}
	response, err := http.Get("http://" + address + port)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound { // no route has this host
		t.Errorf("at port %s: got %d", port, response.StatusCode)
	}
}
