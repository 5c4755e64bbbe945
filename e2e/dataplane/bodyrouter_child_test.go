package dataplane

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// routerProcess is bin/body-router as a process of its own.
type routerProcess struct {
	*process.Process
	address, health, page netip.AddrPort
	args                  []string
	starter               *process.Starter
}

func startChild(t *testing.T, args ...string) *routerProcess {
	t.Helper()
	own := freeAddresses(t, 3)
	r := &routerProcess{address: own[0], health: own[1], page: own[2], starter: process.NewStarter()}
	t.Cleanup(r.starter.Close)
	r.args = append([]string{
		"--bind-address=" + r.address.Addr().String(), "--secure-serving=false", "--adapter-maps=off", fmt.Sprint("--grpc-port=", r.address.Port()),
		fmt.Sprint("--grpc-health-port=", r.health.Port()), fmt.Sprint("--metrics-port=", r.page.Port()),
	}, args...)
	r.start(t)
	t.Cleanup(func() { r.Kill(); <-r.Done() })
	return r
}

// start starts the process, again after it ended.
func (r *routerProcess) start(t *testing.T) {
	t.Helper()
	path, err := filepath.Abs("../../bin/body-router")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v (hint: make build)", err)
	}
	r.Process, err = r.starter.Start(process.Spec{
		Name: "body-router", Path: path, Args: r.args,
		LogPath: filepath.Join(t.TempDir(), "body-router.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the body router accepts connections", func() bool {
		select {
		case <-r.Done():
			t.Fatalf("the body router ended: %s", r.LogTail(5))
		default:
		}
		conn, err := net.Dial("tcp", r.address.String())
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// metric sums the series of one family of the body router's.
func (r *routerProcess) metric(t *testing.T, name string) float64 {
	t.Helper()
	response, err := http.Get("http://" + r.page.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, "infer_body_router_"+name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndex(rest, " "):]), 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += value
	}
	return sum
}

// peak is the most memory the process ever had resident, in MiB.
func (r *routerProcess) peak(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	kib := 0
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatalf("no VmHWM in %s", text)
	}
	return kib >> 10
}

// terminate is a SIGTERM, and the drain.
func (r *routerProcess) terminate(t *testing.T) {
	t.Helper()
	if err := r.Stop(30 * time.Second); err != nil {
		t.Error(err)
	}
	if err := r.Err(); err != nil {
		t.Errorf("the body router ended with %v: %s", err, r.LogTail(5))
	}
}
