package dataplane

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// deployment is two body routers as a cluster keeps them: a new one is asked for
// its readiness and gets into the endpoints that Envoy follows; an old one leaves
// them while it gets its SIGTERM, so that either may come first.
type deployment struct {
	t        *testing.T
	window   string
	file     string
	replicas [2]*routerProcess
}

func startDeployment(t *testing.T, window string) *deployment {
	t.Helper()
	d := &deployment{t: t, window: "--drain-window=" + window, file: filepath.Join(t.TempDir(), "endpoints.yaml")}
	for i := range d.replicas {
		d.replicas[i] = d.startReady()
	}
	d.publish()
	return d
}

// startReady starts a replica and waits for its readiness as a probe does.
func (d *deployment) startReady() *routerProcess {
	d.t.Helper()
	r := startChild(d.t, d.window)
	conn, err := grpc.NewClient("passthrough:///"+r.health.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	eventually(d.t, "a replica is ready", func() bool {
		got, err := healthv1.NewHealthClient(conn).Check(d.t.Context(), &healthv1.HealthCheckRequest{})
		return err == nil && got.GetStatus() == healthv1.HealthCheckResponse_SERVING
	})
	return r
}

// publish writes the endpoints that Envoy reads when the file is moved in place.
func (d *deployment) publish() {
	d.t.Helper()
	var text bytes.Buffer
	text.WriteString("resources:\n- \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n" +
		"  cluster_name: body-router\n  endpoints:\n  - lb_endpoints:\n")
	for _, r := range d.replicas {
		fmt.Fprintf(&text, "    - endpoint: {address: {socket_address: {address: %s, port_value: %d}}}\n", r.address.Addr(), r.address.Port())
	}
	if err := os.WriteFile(d.file+".new", text.Bytes(), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(d.file+".new", d.file); err != nil {
		d.t.Fatal(err)
	}
}

// replace rolls one replica.
func (d *deployment) replace(i int) {
	d.t.Helper()
	old := d.replicas[i]
	d.replicas[i] = d.startReady()
	var gone sync.WaitGroup
	gone.Go(func() { old.terminate(d.t) })
	d.publish()
	gone.Wait()
}

// rollingRestarts replaces two replicas of the body router in turn, under load.
// It says how often Envoy had to ask a second replica.
func rollingRestarts(t *testing.T, mode, window string, restarts int) {
	const workers = 4
	u := startUpstream(t)
	d := startDeployment(t, window)
	g := startChain(t, chain{Endpoints: d.file, RouterMode: mode, Models: []modelRoute{{"m", u.address}}})
	ctx, stop := context.WithCancel(t.Context())
	var served, failed atomic.Int64
	var group sync.WaitGroup
	bodies := [][]byte{chatOf(100), chatOf(16 << 10), chatOf(256 << 10)}
	for range workers {
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				body := bodies[i%len(bodies)]
				got, err := g.send(g.request(http.MethodPost, "application/json", unsized{bytes.NewReader(body)}))
				if err != nil || got.code != http.StatusOK || got.echo.Length != len(body) {
					failed.Add(1)
					t.Logf("got %d, %v", got.code, err)
				}
				served.Add(1)
			}
		})
	}
	for i := range restarts {
		before := served.Load()
		d.replace(i % len(d.replicas))
		eventually(t, "requests go on", func() bool { return served.Load() > before+workers })
	}
	stop()
	group.Wait()
	t.Logf("%d restarts, %s: %d of %d requests failed; asked again: %s", restarts, mode, failed.Load(), served.Load(),
		strings.ReplaceAll(strings.TrimSpace(g.page("/stats?filter=cluster.body-router.upstream_rq_retry")), "\n", ", "))
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed\n%s\n%s", failed.Load(), served.Load(), g.refused(), g.page("/stats?filter=cluster.body-router"))
	}
}

// refused returns the lines of the access log that tell of another answer than 200.
func (g *proxied) refused() string {
	g.t.Helper()
	text, err := os.ReadFile(g.chain.AccessLog)
	if err != nil {
		g.t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, " 200 ") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func TestRollingRestartsFailNoRequest(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeBuffered, modeFullDuplex} {
		t.Run(mode, func(t *testing.T) { t.Parallel(); rollingRestarts(t, mode, "300ms", 5) })
	}
}
