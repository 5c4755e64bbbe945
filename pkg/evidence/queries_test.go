package evidence

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// queue is the query of these tests' gate.
func queue(t *testing.T) []gate.Expr {
	t.Helper()
	e, err := gate.Parse(`promql "queue" < 5`)
	if err != nil {
		t.Fatal(err)
	}
	return []gate.Expr{e}
}

func TestAQueryWithoutAPrometheusIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	err := r.arms.Bind(t.Context(), queue(t))
	if err == nil || !strings.Contains(err.Error(), "no Prometheus to ask") || !strings.Contains(hint.Of(err), "--prometheus") {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
}

// TestQueriesAreProvenOnce asks a server that answers only queries of a user's
// own. What can never be a number is refused with a hint (exit code 16).
func TestQueriesAreProvenOnce(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status         int
		answer         string
		refused, noted bool
	}{
		"one number will do":                     {200, `{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}`, false, false},
		"no value yet is noted":                  {200, `{"status":"success","data":{"resultType":"vector","result":[]}}`, false, true},
		"many series are refused":                {200, `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"2"]}]}}`, true, false},
		"what the server cannot read is refused": {400, `{"status":"error","errorType":"bad_data","error":"parse error"}`, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := asker(t, func(w http.ResponseWriter) {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			})
			err := a.bindQueries(t.Context(), queue(t))
			if tt.refused != (err != nil && hint.Of(err) != "") || !tt.refused && err != nil {
				t.Errorf("error %v, hint %q", err, hint.Of(err))
			}
			if tt.noted != (len(a.notes) > 0) {
				t.Errorf("notes %q", a.notes)
			}
		})
	}
}

func TestALookAsksEveryQueryAndSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	a := asker(t, func(w http.ResponseWriter) {
		if away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"3.5"]}}`)
	})
	if err := a.bindQueries(t.Context(), queue(t)); err != nil {
		t.Fatal(err)
	}
	if got := a.answers(t.Context()); len(got) != 1 || got[0] != (gate.Answer{Value: 3.5}) {
		t.Errorf("answers %+v", got)
	}
	away.Store(true)
	if got := a.answers(t.Context()); got[0].Missing == "" {
		t.Errorf("answers %+v of a server that is away", got)
	}
}

// asker is arms whose Prometheus answers so.
func asker(t *testing.T, answer func(http.ResponseWriter)) *Arms {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.FormValue("query"); got != "queue" {
			t.Errorf("asked %q", got)
		}
		answer(w)
	}))
	t.Cleanup(server.Close)
	a := New(&kube.Clients{}, Pool{}, Pool{}, Options{Prometheus: server.URL})
	t.Cleanup(a.Close)
	if err := a.reach.use(Prometheus); err != nil {
		t.Fatal(err)
	}
	return a
}
