package dataplane

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

func TestRedirectsAndRewrites(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	a := pool("a", startPicker(t), false, startUpstream(t))
	a.Picker.Endpoints, a.Picker.FailOpen = nil, true
	edit := func(kind translate.PathEditKind, path string) translate.PathEdit {
		return translate.PathEdit{Kind: kind, Path: path}
	}
	const full, prefix = translate.ReplaceFullPath, translate.ReplacePrefix
	here := int32(r.address.Port())
	for _, row := range []struct {
		rule, match string
		redirect    *translate.Redirect
		rewrite     translate.Rewrite
		get, want   string
	}{
		{"https, no host", "/", &translate.Redirect{Scheme: "https", Port: 443, Code: 301}, translate.Rewrite{}, "/a?b=c", "301 https://" + r.address.Addr().String() + ":443/a?b=c"},
		{"https, a host", "/", &translate.Redirect{Scheme: "https", Port: 443, Host: "x.org", Code: 308}, translate.Rewrite{}, "/a", "308 https://x.org/a"},
		{"a full path", "/", &translate.Redirect{Port: here, Host: "x.org", Path: edit(full, "/z"), Code: 302}, translate.Rewrite{}, "/a", fmt.Sprintf("302 http://x.org:%d/z", here)},
		{"a prefix", "/v1", &translate.Redirect{Port: 80, Host: "x.org", Path: edit(prefix, "/v2"), Code: 307}, translate.Rewrite{}, "/v1/a", "307 http://x.org/v2/a"},
		{"a prefix away", "/v1", &translate.Redirect{Port: 80, Host: "x.org", Path: edit(prefix, "/"), Code: 303}, translate.Rewrite{}, "/v1/a", "303 http://x.org/a"},
		{"rewrite a full path", "/", nil, translate.Rewrite{Path: edit(full, "/z")}, "/a/b", "200 /z"},
		{"rewrite a prefix", "/v1", nil, translate.Rewrite{Path: edit(prefix, "/v2")}, "/v1/a", "200 /v2/a"},
		{"rewrite a prefix away", "/v1", nil, translate.Rewrite{Path: edit(prefix, "/")}, "/v1/a", "200 /a"},
		{"rewrite all of a prefix away", "/v1", nil, translate.Rewrite{Path: edit(prefix, "/")}, "/v1", "200 /"},
		{"rewrite the root", "/", nil, translate.Rewrite{Path: edit(prefix, "/v2")}, "/a", "200 /v2/a"},
		{"rewrite the host", "/", nil, translate.Rewrite{Host: "x.org"}, "/a", "200 /a at x.org"},
	} {
		route := catchAll(member(a, 1))
		route.Match.Path, route.Redirect, route.Rewrite = row.match, row.redirect, row.rewrite
		if err := r.tryPush([]translate.Backend{a}, route); err != nil {
			t.Fatal(err)
		}
		if got := r.visit(row.get); got != row.want {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.want)
		}
	}
}

// visit is "code path" as the upstream saw it, or "code location".
func (r *rig) visit(path string) string {
	r.t.Helper()
	response, err := r.client.Transport.RoundTrip(must[*http.Request](r.t)(http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url(path), nil)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	if location := response.Header.Get("Location"); location != "" {
		return fmt.Sprint(response.StatusCode, " ", location)
	}
	e := decodeEcho(r.t, response.Body)
	if e.Host != r.address.String() {
		return fmt.Sprint(response.StatusCode, " ", e.Path, " at ", e.Host)
	}
	return fmt.Sprint(response.StatusCode, " ", e.Path)
}

func TestAMirrorGetsItsShareAndNeverThePick(t *testing.T) {
	t.Parallel()
	const requests = 400
	r := newRig(t, xds.Settings{})
	u, shadow, second := startUpstream(t), startUpstream(t), startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	b, c := pool("b", nil, false, shadow), pool("c", nil, false, second)
	for _, m := range []*translate.Backend{&b, &c} {
		m.Name, m.Picker, m.Mirror = "mirror/"+m.Name, nil, true
	}
	route := catchAll(member(a, 1))
	route.Mirrors = []translate.Mirror{{Backend: b.Name, Numerator: translate.Million / 4}, {Backend: c.Name, Numerator: translate.Million}}
	if err := r.tryPush([]translate.Backend{a, b, c}, route); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range requests / 4 {
				if got, err := r.do(http.MethodPost, strings.NewReader(chat), nil); err != nil || got.code != http.StatusOK || got.echo.Upstream != u.address.String() {
					t.Errorf("got %d from %s, %v", got.code, got.echo.Upstream, err)
				}
			}
		})
	}
	group.Wait()
	eventually(t, "every copy has come", func() bool { return second.seen.Load() == requests })
	// 100 ± 4.5 standard deviations.
	if n := shadow.seen.Load(); n < 61 || n > 139 {
		t.Errorf("a mirror of a quarter got %d of %d requests", n, requests)
	}
	if shadow.picked.Load()+second.picked.Load() != 0 || u.picked.Load() != requests {
		t.Errorf("requests that carried a pick: %d of the primary's, %d and %d of the mirrors'", u.picked.Load(), shadow.picked.Load(), second.picked.Load())
	}
}

func TestAShadowThatHangsHarmsNoRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	hung := listen(t) // accepts nothing
	t.Cleanup(func() { hung.Close() })
	b := translate.Backend{Name: "mirror/pool/test/b", Mirror: true}
	b.Endpoints = append(b.Endpoints, addressOf(hung))
	route := catchAll(member(a, 1))
	route.Mirrors = []translate.Mirror{{Backend: b.Name, Numerator: translate.Million}}
	if err := r.tryPush([]translate.Backend{a, b}, route); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 200 { // more than the shadow's breaker lets wait
		if got := r.post([]byte(chat), nil); got.code != http.StatusOK {
			t.Fatalf("got %d", got.code)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("200 requests took %s", took)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	for _, row := range []struct {
		rule  string
		retry *translate.Retry
		fails int64
		code  int
		seen  int64
	}{
		{"no retry", nil, 1, 503, 1},
		{"a code that is listed", &translate.Retry{Attempts: 2, Codes: []uint32{503}, Backoff: time.Millisecond}, 2, 200, 3},
		{"too few attempts", &translate.Retry{Attempts: 1, Codes: []uint32{503}, Backoff: time.Millisecond}, 2, 503, 2},
		{"a code that is not listed", &translate.Retry{Attempts: 2, Codes: []uint32{502}}, 1, 503, 1},
		{"a policy's triggers", &translate.Retry{Attempts: 1, On: []string{"5xx"}}, 1, 200, 2},
	} {
		route := catchAll(member(a, 1))
		route.Retry = row.retry
		if err := r.tryPush([]translate.Backend{a}, route); err != nil {
			t.Fatal(err)
		}
		u.fail.Store(row.fails)
		u.seen.Store(0)
		if got := r.post([]byte(chat), nil); got.code != row.code || u.seen.Load() != row.seen {
			t.Errorf("%s: got %d after %d attempts, want %d after %d", row.rule, got.code, u.seen.Load(), row.code, row.seen)
		}
		u.fail.Store(0)
	}
}

func TestABreakerRefusesWhatIsAboveItsLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	one := uint32(1)
	// No limit on connections: behind one, a second request of the same Envoy
	// worker waits, as --max-pending allows it, and is not refused.
	a.Traffic.Breaker = translate.Breaker{Requests: &one, Pending: &one}
	a.Traffic.Ejection = &translate.Ejection{Consecutive5xx: &one}
	r.push([]translate.Backend{a}, member(a, 1))
	running := r.openStream()
	response, err := r.client.Post(r.url("/v1/completions"), "application/json", strings.NewReader(chat))
	if err != nil {
		t.Fatal(err)
	}
	body := must[[]byte](t)(io.ReadAll(response.Body))
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "overflow") {
		t.Errorf("beside one running request: got %d %s", response.StatusCode, body)
	}
	u.tick(true)
	if err := <-running.err; err != nil {
		t.Error(err)
	}
	if got := r.post([]byte(chat), nil); got.code != http.StatusOK {
		t.Errorf("after it: got %d", got.code)
	}
}
