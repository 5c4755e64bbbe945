package dataplane

import (
	"net/http"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

func TestAPoolWithoutItsPickerFollowsItsFailureMode(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	gone := startPicker(t, u)
	gone.server.Stop()
	for _, row := range []struct {
		rule     string
		picker   *picker
		failOpen bool
		code     int
	}{
		{"no picker Pod, FailClose: 503", nil, false, http.StatusServiceUnavailable},
		{"no picker Pod, FailOpen: served", nil, true, http.StatusOK},
		{"picker refuses connections, FailClose: 503", gone, false, http.StatusServiceUnavailable},
		{"picker refuses connections, FailOpen: served", gone, true, http.StatusOK},
	} {
		a := pool("a", row.picker, row.failOpen, u)
		r.push([]translate.Backend{a}, member(a, 1))
		for _, size := range []int{23, 1 << 20} {
			got := r.post(chatOf(size), nil)
			if got.code != row.code || (got.code == http.StatusOK && got.echo.Length != size) {
				t.Errorf("%s (%d bytes): got %d", row.rule, size, got.code)
			}
		}
	}
}

func TestTwoPoolsOfOneRuleKeepTheirOwnFailureModes(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	open, closed := pool("open", nil, true, u), pool("closed", nil, false, u)
	r.push([]translate.Backend{open, closed}, member(open, 1), member(closed, 1))
	codes := map[string]map[int]int{"test/open": {}, "test/closed": {}, "": {}}
	for range 60 {
		got := r.post([]byte(chat), nil)
		codes[got.backend][got.code]++
	}
	if len(codes["test/open"]) != 1 || codes["test/open"][http.StatusOK] == 0 {
		t.Errorf("FailOpen pool: codes %v", codes["test/open"])
	}
	refused := codes["test/closed"][http.StatusServiceUnavailable] + codes[""][http.StatusServiceUnavailable]
	if refused == 0 || refused+codes["test/open"][http.StatusOK] != 60 {
		t.Errorf("FailClose pool: codes %v and %v", codes["test/closed"], codes[""])
	}
}

func TestASilentPickerIsAnswered504OnTime(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	r := newRig(t, xds.Settings{MessageTimeout: limit})
	u := startUpstream(t)
	p := startPicker(t, u)
	p.silent.Store(true)
	for _, row := range []struct {
		rule     string
		failOpen bool
		code     int
	}{
		{"FailClose: 504", false, http.StatusGatewayTimeout},
		{"FailOpen: served", true, http.StatusOK},
	} {
		a := pool("a", p, row.failOpen, u)
		r.push([]translate.Backend{a}, member(a, 1))
		start := time.Now()
		got := r.post([]byte(chat), nil)
		if took := time.Since(start); got.code != row.code || took < limit*9/10 || took > 10*limit {
			t.Errorf("%s: got %d after %s", row.rule, got.code, took)
		}
	}
}

func TestABodyRouterThatIsGoneFailsClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), true, u)
	r.settings.BodyRouter = freeAddress(t)
	r.push([]translate.Backend{a}, member(a, 1))
	if got := r.post([]byte(chat), nil); got.code != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", got.code)
	}
}

func TestTimeoutsOfARoute(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	for _, row := range []struct {
		rule             string
		request, backend time.Duration
	}{
		{"timeouts.request: 504", limit, 0},
		{"timeouts.backendRequest: 504", 0, limit},
	} {
		route := catchAll(member(a, 1))
		route.Timeout, route.BackendTimeout = row.request, row.backend
		if err := r.tryPush([]translate.Backend{a}, route); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		response, err := r.client.Get(r.url("/hang"))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if took := time.Since(start); response.StatusCode != http.StatusGatewayTimeout || took < limit*9/10 || took > 10*limit {
			t.Errorf("%s: got %d after %s", row.rule, response.StatusCode, took)
		}
	}
}
