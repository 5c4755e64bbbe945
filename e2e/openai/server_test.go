package openai

import (
	"bufio"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// serve starts the simulator on a port of its own and returns its address.
func serve(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../bin/model-server-sim", "/models/qwen-v1",
		"--served-model-name", "qwen", "alias", "--enable-lora", "--lora-modules", "travel=/models/travel",
		"--bind-address", "127.0.0.1", "--port", "0", "--ttft", "20ms", "--tpot", "1ms", "--disable-uvicorn-access-log")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (run `make build` first)", err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the test's context has ended it
	line, err := bufio.NewReader(stderr).ReadString('\n')
	url := regexp.MustCompile(`http://\S+`).FindString(line)
	if url == "" {
		t.Fatalf("the simulator said %q, %v", line, err)
	}
	return url
}

// connect is OpenAI's client of a simulator; an error is not tried again.
func connect(t *testing.T) (client openai.Client, url string) {
	t.Helper()
	url = serve(t)
	return openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey("none"), option.WithMaxRetries(0)), url
}

// put replaces what is wrong with a simulator.
func put(t *testing.T, url, faults string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/sandbox/faults", strings.NewReader(faults))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("faults %s: %v, %v", faults, resp, err)
	}
	_ = resp.Body.Close()
}
