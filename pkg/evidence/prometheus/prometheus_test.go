package prometheus

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

// ask serves answer to every query and reads the pages of one pod.
func ask(t *testing.T, status int, answer string) (*scrape.Page, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	c, err := New(server.URL, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	pages, err := c.Pages(context.WithoutCancel(t.Context()), []string{"requests", "ttft"}, []Pod{{ID: "uid", Name: "a", IP: "10.0.0.1", Port: 9090}})
	return pages["uid"], err
}

func result(series ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

const (
	counter = `{"metric":{"__name__":"requests_total","pod":"a","instance":"10.0.0.1:9090","job":"x"},"value":[1,"7"]}`
	twice   = `{"metric":{"__name__":"requests_total","pod":"a","instance":"10.0.0.1:9090","job":"y"},"value":[1,"7"]}`
	another = `{"metric":{"__name__":"requests_total","pod":"b","instance":"10.0.0.2:9090","job":"x"},"value":[1,"99"]}`
	port    = `{"metric":{"__name__":"requests_total","pod":"a","instance":"10.0.0.1:9091","job":"x"},"value":[1,"50"]}`
)

func TestOnlyThePodsOwnSamplesCountOnce(t *testing.T) {
	t.Parallel()
	page, err := ask(t, 200, result(counter, twice, another, port))
	if err != nil {
		t.Fatal(err)
	}
	if sum, ok := page.Sum("requests_total", nil); sum != 7 || !ok {
		t.Errorf("got %v, want 7: two jobs, another pod and another port are not this one", sum)
	}
}

func TestANativeHistogramIsReadAtEdgesThatEveryBucketKeeps(t *testing.T) {
	t.Parallel()
	h := func(buckets string) string {
		return `{"metric":{"__name__":"ttft","pod":"a","instance":"10.0.0.1:9090"},"histogram":[1,{"count":"10","sum":"9","buckets":[` + buckets + `]}]}`
	}
	for rule, tc := range map[string]struct {
		buckets string
		below   map[float64]float64 // what lies at or below an edge
		without float64             // an edge that must not be there
	}{
		"schema 3 has every second edge": {
			`[0,"0.5","0.5452538663326288","4"],[0,"0.9170040432046712","1","3"],[0,"1","1.0905077326652577","3"]`,
			map[float64]float64{0.5: 0, 1: 7, 2: 10},
			1.0442737824274138,
		},
		"schema 0 has the powers of two": {
			`[0,"0.5","1","6"],[0,"1","2","4"]`, map[float64]float64{0.5: 0, 1: 6, 2: 10}, 1.4142135623730951,
		},
		"zeros lie below all": {
			`[3,"-0.0001","0.0001","9"],[0,"0.5","1","1"]`, map[float64]float64{0.5: 9, 1: 10}, 0,
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			page, err := ask(t, 200, result(h(tc.buckets)))
			if err != nil {
				t.Fatal(err)
			}
			got, count, ok := page.Buckets("ttft", nil)
			if !ok || count != 10 {
				t.Fatalf("count %v, %v", count, ok)
			}
			for edge, n := range tc.below {
				if got[edge] != n {
					t.Errorf("%v at or below %v, want %v", got[edge], edge, n)
				}
			}
			if _, there := got[tc.without]; there {
				t.Errorf("the edge %v lies inside a bucket", tc.without)
			}
		})
	}
}

func TestAnAnswerThatCannotBeBelievedIsAnError(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		status       int
		answer, says string
	}{
		"a refused query says why":        {400, `{"status":"error","error":"parse error: x"}`, "parse error: x"},
		"a proxy's error page":            {502, "<html>", "502"},
		"no query result":                 {200, "{}", "no query result"},
		"a value that is no number":       {200, result(strings.Replace(counter, `"7"`, `"x"`, 1)), "no query result"},
		"a counter that is not finite":    {200, result(strings.Replace(counter, `"7"`, `"NaN"`, 1)), "NaN"},
		"a negative counter":              {200, result(strings.Replace(counter, `"7"`, `"-1"`, 1)), "-1"},
		"a native bucket of another form": {200, result(`{"metric":{"__name__":"ttft","pod":"a"},"histogram":[1,{"count":"1","buckets":[[0,"1"]]}]}`), "2 parts"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			if _, err := ask(t, tc.status, tc.answer); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
		})
	}
	if page, err := ask(t, 200, result()); err != nil || page != nil {
		t.Errorf("a pod nobody scrapes: %v, %v", page, err)
	}
	if _, err := New("prometheus:9090", nil); err == nil {
		t.Error("an address without a scheme was accepted")
	}
}
