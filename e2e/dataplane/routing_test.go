package dataplane

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

const chat = `{"model":"qwen","messages":[]}`

func TestEachWeightedMemberAsksItsOwnPickerAndServesWhatItAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	const requests, workers = 1000, 10
	uA, uA2, uB, uB2 := startUpstream(t), startUpstream(t), startUpstream(t), startUpstream(t)
	pA, pB := startPicker(t, uA, uA2), startPicker(t, uB, uB2)
	a, b := pool("a", pA, false, uA, uA2), pool("b", pB, false, uB, uB2)
	r.push([]translate.Backend{a, b}, member(a, 70), member(b, 30))

	var mu sync.Mutex
	backends, elsewhere := map[string]int{}, 0
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range requests / workers {
				got, err := r.do(http.MethodPost, strings.NewReader(chat), nil)
				if err != nil || got.code != http.StatusOK {
					t.Errorf("got %d, %v", got.code, err)
					return
				}
				mu.Lock()
				backends[got.backend]++
				if got.echo.Headers.Get(header.DestinationEndpoint) != got.echo.Upstream {
					elsewhere++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if elsewhere != 0 || pA.wrong.Load() != 0 || pB.wrong.Load() != 0 {
		t.Errorf("requests served elsewhere than asked: %d by header, %d + %d by metadata", elsewhere, pA.wrong.Load(), pB.wrong.Load())
	}
	for name, p := range map[string]*picker{"test/a": pA, "test/b": pB} {
		if int(p.asked.Load()) != backends[name] {
			t.Errorf("pool %s served %d requests, its picker was asked %d times", name, backends[name], p.asked.Load())
		}
	}
	wantLogged(t, r, requests)
	// 700 ± 4.5 standard deviations.
	if n := backends["test/a"]; n < 635 || n > 765 {
		t.Errorf("pool a at weight 70 of 100 got %d of %d requests", n, requests)
	}
}

// wantLogged waits for a line of the access log for each request, every one
// with the endpoint that was asked for as the one that served.
func wantLogged(t *testing.T, r *rig, requests int) {
	t.Helper()
	eventually(t, "every request is in the access log", func() bool {
		content, err := os.ReadFile(r.settings.AccessLog)
		return err == nil && bytes.Count(content, []byte("\n")) >= requests
	})
	content, err := os.ReadFile(r.settings.AccessLog)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(content) {
		var entry struct{ Asked, Served, Model string }
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Asked == "" || entry.Asked != entry.Served || entry.Model != "qwen" {
			t.Fatalf("access log says asked %q, served %q, model %q", entry.Asked, entry.Served, entry.Model)
		}
	}
}

func TestHeaderModifiersOfRuleAndBackend(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	m := member(a, 1)
	m.RequestHeaders.Set = []translate.Header{{Name: "x-backend", Value: "a"}}
	route := catchAll(m)
	route.RequestHeaders = translate.HeaderEdits{
		Set:    []translate.Header{{Name: "x-set", Value: "100%"}},
		Add:    []translate.Header{{Name: "x-add", Value: "two"}},
		Remove: []string{"x-remove"},
	}
	if err := r.tryPush([]translate.Backend{a}, route); err != nil {
		t.Fatal(err)
	}
	got := r.post([]byte(chat), http.Header{"X-Set": {"old"}, "X-Add": {"one"}, "X-Remove": {"old"}}).echo.Headers
	for name, want := range map[string][]string{
		"X-Set": {"100%"}, "X-Add": {"one", "two"}, "X-Remove": nil, "X-Backend": {"a"},
	} {
		if fmt.Sprint(got.Values(name)) != fmt.Sprint(want) {
			t.Errorf("upstream saw %s: %q, want %q", name, got.Values(name), want)
		}
	}
}

func TestRoutingHeadersOfAClientNeverSurvive(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u, other := startUpstream(t), startUpstream(t)
	a := pool("a", startPicker(t, u), false, u, other)
	r.push([]translate.Backend{a}, member(a, 1))
	forged := http.Header{}
	for _, name := range header.Owned() {
		forged[http.CanonicalHeaderKey(name)] = []string{other.address.String(), "forged"}
		forged[strings.ToLower(name)] = []string{"forged"}
	}
	with, err := r.do(http.MethodPost, strings.NewReader(chat), forged)
	if err != nil {
		t.Fatal(err)
	}
	without, err := r.do(http.MethodGet, http.NoBody, forged)
	if err != nil {
		t.Fatal(err)
	}
	for row, got := range map[string]struct {
		answer answer
		model  []string
	}{
		"with a body":    {with, []string{"qwen"}},
		"without a body": {without, nil},
	} {
		want := map[string][]string{header.ModelName: got.model, header.DestinationEndpoint: {u.address.String()}}
		for _, name := range header.Owned() {
			if seen := got.answer.echo.Headers.Values(name); fmt.Sprint(seen) != fmt.Sprint(want[name]) {
				t.Errorf("%s: upstream saw %s: %q, want %q", row, name, seen, want[name])
			}
		}
		if got.answer.echo.Upstream != u.address.String() {
			t.Errorf("%s: a forged header chose the endpoint", row)
		}
	}
}

func TestTheModelOfTheBodyChoosesTheRoute(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	uA, uB := startUpstream(t), startUpstream(t)
	pA, pB := startPicker(t, uA), startPicker(t, uB)
	a, b := pool("a", pA, false, uA), pool("b", pB, false, uB)
	byModel := func(model string, b translate.Backend) translate.Route {
		return translate.Route{
			Name: "test/" + model, Members: []translate.Member{member(b, 1)},
			Match: translate.Match{PathKind: translate.PathPrefix, Path: "/v1", Headers: []translate.ValueMatch{
				{Name: strings.ToLower(header.ModelName), Value: model},
			}},
		}
	}
	if err := r.tryPush([]translate.Backend{a, b}, byModel("qwen", a), byModel("llama", b)); err != nil {
		t.Fatal(err)
	}
	for model, want := range map[string]answer{
		"qwen": {code: 200, backend: "test/a"}, "llama": {code: 200, backend: "test/b"}, "other": {code: 404},
	} {
		got := r.post([]byte(`{"model":"`+model+`"}`), nil)
		if got.code != want.code || got.backend != want.backend {
			t.Errorf("model %s: got %d from %q, want %d from %q", model, got.code, got.backend, want.code, want.backend)
		}
	}
	if pA.asked.Load() != 1 || pB.asked.Load() != 1 {
		t.Errorf("pickers asked %d and %d times, want once each", pA.asked.Load(), pB.asked.Load())
	}
}

func TestWhatCannotBeServedAnswersForItsOwnShare(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	empty := pool("empty", startPicker(t, u), false)
	service := translate.Backend{Name: "service/test/plain/80", Endpoints: a.Endpoints}
	service.Owner.Namespace, service.Owner.Name = "test", "plain"
	backends := []translate.Backend{a, empty, service}
	invalid := translate.Member{Weight: 1, Ref: "test/missing"}
	for _, row := range []struct {
		rule    string
		members []translate.Member
		code    int
	}{
		{"a rule without members answers 500", nil, 500},
		{"all weights zero answers 500", []translate.Member{member(a, 0), member(empty, 0)}, 500},
		{"an invalid reference answers 500", []translate.Member{invalid, member(a, 0)}, 500},
		{"a pool without endpoints answers 503", []translate.Member{member(empty, 1)}, 503},
		{"a Service is reached without any picker", []translate.Member{member(service, 1), member(empty, 0)}, 200},
		{"weight 0 gets nothing", []translate.Member{{Weight: 0, Ref: "test/missing"}, member(a, 5)}, 200},
	} {
		r.push(backends, row.members...)
		for range 5 {
			if got := r.post([]byte(chat), nil); got.code != row.code {
				t.Errorf("%s: got %d", row.rule, got.code)
			}
		}
	}
}

func TestARefusedConfigurationLeavesTheLastGoodOneServing(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	r.push([]translate.Backend{a}, member(a, 1))
	bad := translate.Route{
		Name: "test/bad/0/0", Match: translate.Match{PathKind: translate.PathRegex, Path: "(unclosed"},
		Members: []translate.Member{member(a, 1)},
	}
	err := r.tryPush([]translate.Backend{a}, bad)
	var refused *xds.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Message, "unclosed") {
		t.Fatalf("got %v, want Envoy's refusal of the regular expression", err)
	}
	if got := r.post([]byte(chat), nil); got.code != http.StatusOK {
		t.Errorf("after the refusal: got %d", got.code)
	}
	r.push([]translate.Backend{a}, member(a, 2)) // and the next good one is taken
	if got := r.post([]byte(chat), nil); got.code != http.StatusOK {
		t.Errorf("after the next push: got %d", got.code)
	}
}
