package scrape

import (
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

const textPage = `# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{model="a",code="200"} 7
http_requests_total{model="a",code="500"} 1 1700000000000
http_requests_total{model="b",code="200"} 5
# TYPE ttft_seconds histogram
ttft_seconds_bucket{model="a",le="0.5"} 2
ttft_seconds_bucket{model="a",le="1"} 3
ttft_seconds_bucket{model="a",le="+Inf"} 4
ttft_seconds_sum{model="a"} 9.5
ttft_seconds_count{model="a"} 4
ttft_seconds_bucket{model="b",le="0.5"} 1
ttft_seconds_bucket{model="b",le="+Inf"} 1
ttft_seconds_sum{model="b"} 0.1
ttft_seconds_count{model="b"} 1
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{model_name="x y\n\"z\""} 0.25
not a sample line at all, and not wanted
other_total 99
`

const openMetricsPage = `# TYPE http_requests counter
# UNIT other_bytes bytes
http_requests_total{model="a"} 7 # {trace_id="x"} 1 1700000000
http_requests_created{model="a"} 1700000000
# TYPE other gauge
other 3
# EOF
`

const openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"

var wantedFamilies = []string{"http_requests_total", "ttft_seconds", "vllm:kv_cache_usage_perc"}

func parse(t *testing.T, page, contentType string) *Page {
	t.Helper()
	p, err := Parse(strings.NewReader(page), contentType, wantedFamilies, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSum(t *testing.T) {
	t.Parallel()
	text, om := parse(t, textPage, "text/plain; version=0.0.4"), parse(t, openMetricsPage, openMetrics)
	for rule, tc := range map[string]struct {
		page   *Page
		name   string
		match  map[string]string
		sum    float64
		exists bool
	}{
		"no labels asked: every series counts":            {text, "http_requests_total", nil, 13, true},
		"labels asked: only series that have them":        {text, "http_requests_total", map[string]string{"model": "a"}, 8, true},
		"all labels asked must hold":                      {text, "http_requests_total", map[string]string{"model": "a", "code": "500"}, 1, true},
		"no series has the labels: not ok, not zero":      {text, "http_requests_total", map[string]string{"model": "c"}, 0, false},
		"an empty value asks that the label is absent":    {text, "http_requests_total", map[string]string{"pool": ""}, 13, true},
		"a family that was not wanted is not there":       {text, "other_total", nil, 0, false},
		"a histogram's count is a sample":                 {text, "ttft_seconds_count", nil, 5, true},
		"escaped label values are understood":             {text, "vllm:kv_cache_usage_perc", map[string]string{"model_name": "x y\n\"z\""}, 0.25, true},
		"OpenMetrics: a counter has the suffix _total":    {om, "http_requests_total", nil, 7, true},
		"OpenMetrics: creation times are no measurements": {om, "http_requests_created", nil, 0, false},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			sum, ok := tc.page.Sum(tc.name, tc.match)
			if sum != tc.sum || ok != tc.exists {
				t.Errorf("got %v, %v; want %v, %v", sum, ok, tc.sum, tc.exists)
			}
		})
	}
}

func TestGaugeThatIsNoNumberIsNotOK(t *testing.T) {
	t.Parallel()
	if _, ok := parse(t, "vllm:kv_cache_usage_perc NaN\n", "").Sum("vllm:kv_cache_usage_perc", nil); ok {
		t.Error("a sum that is no number was called ok")
	}
}

func TestMaxIsTheLargestFiniteSample(t *testing.T) {
	t.Parallel()
	page := parse(t, "vllm:kv_cache_usage_perc{engine=\"0\"} 0.2\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.7\nvllm:kv_cache_usage_perc{engine=\"2\"} NaN\n", "")
	if got, ok := page.Max("vllm:kv_cache_usage_perc", nil); got != 0.7 || !ok {
		t.Errorf("got %v, %v", got, ok)
	}
	if _, ok := page.Max("vllm:kv_cache_usage_perc", map[string]string{"engine": "2"}); ok {
		t.Error("a gauge that is no number was called ok")
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	page := parse(t, textPage, "")
	buckets, count, ok := page.Buckets("ttft_seconds", map[string]string{"model": "a"})
	if want := map[float64]float64{0.5: 2, 1: 3}; !ok || count != 4 || !reflect.DeepEqual(buckets, want) {
		t.Errorf("one histogram: got %v, %v, %v", buckets, count, ok)
	}
	buckets, count, ok = page.Buckets("ttft_seconds", nil)
	if want := map[float64]float64{0.5: 3}; !ok || count != 5 || !reflect.DeepEqual(buckets, want) {
		t.Errorf("an edge that only one histogram has must go: got %v, %v, %v", buckets, count, ok)
	}
	if _, _, ok = page.Buckets("ttft_seconds", map[string]string{"model": "none"}); ok {
		t.Error("no histogram matches, and ok is true")
	}
	if got := page.Values("http_requests_total", "model"); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("values: %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	small := Limits{Bytes: 100, Line: 50, Lines: 4, Series: 2}
	for rule, tc := range map[string]struct {
		page, contentType string
		limits            Limits
		is                error
		names             string
	}{
		"a negative counter":             {"http_requests_total{a=\"b\"} -1\n", "", Limits{}, ErrMalformed, `http_requests_total`},
		"a counter that is not a number": {"http_requests_total NaN\n", "", Limits{}, ErrMalformed, `http_requests_total`},
		"an infinite bucket":             {"ttft_seconds_bucket{le=\"+Inf\"} +Inf\n", "", Limits{}, ErrMalformed, `ttft_seconds_bucket`},
		"a counter known by its type":    {"# TYPE vllm:kv_cache_usage_perc counter\nvllm:kv_cache_usage_perc -1\n", "", Limits{}, ErrMalformed, "vllm:kv_cache_usage_perc"},
		"a series that occurs twice":     {"http_requests_total 1\nhttp_requests_total 2\n", "", Limits{}, ErrMalformed, "twice"},
		"buckets that fall":              {"ttft_seconds_bucket{le=\"1\"} 5\nttft_seconds_bucket{le=\"+Inf\"} 4\n", "", Limits{}, ErrMalformed, "below"},
		"a histogram without +Inf":       {"ttft_seconds_bucket{le=\"1\"} 5\n", "", Limits{}, ErrMalformed, "+Inf"},
		"an edge written in two ways":    {"ttft_seconds_bucket{le=\"1\"} 5\nttft_seconds_bucket{le=\"1.00\"} 5\nttft_seconds_bucket{le=\"+Inf\"} 5\n", "", Limits{}, ErrMalformed, "edge"},
		"an edge that is no number":      {"ttft_seconds_bucket{le=\"x\"} 5\n", "", Limits{}, ErrMalformed, "edge"},
		"a value that is no number":      {"http_requests_total one\n", "", Limits{}, ErrMalformed, ""},
		"an unfinished label set":        {"http_requests_total{a=\"b 1\n", "", Limits{}, ErrMalformed, ""},
		"OpenMetrics without its end":    {"http_requests_total 1\n", openMetrics, Limits{}, ErrMalformed, "EOF"},
		"a web page":                     {"<html>", "text/html", Limits{}, ErrMalformed, "text/html"},
		"protobuf, which was not asked":  {"", "application/vnd.google.protobuf", Limits{}, ErrMalformed, "protobuf"},
		"a content type nobody can read": {"", "text/;;", Limits{}, ErrMalformed, ""},
		"too many bytes":                 {strings.Repeat("x 1\n", 26), "", Limits{Bytes: 100}, ErrTooLarge, "100 bytes"},
		"a line that is too long":        {strings.Repeat("x", 51), "", small, ErrTooLarge, "line"},
		"too many lines":                 {"#\n#\n#\n#\n#\n", "", small, ErrTooLarge, "4 lines"},
		"too many samples":               {"http_requests_total{a=\"1\"} 1\nhttp_requests_total{a=\"2\"} 1\nhttp_requests_total{a=\"3\"} 1\n", "", Limits{Series: 2}, ErrTooLarge, "2 samples"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(strings.NewReader(tc.page), tc.contentType, wantedFamilies, tc.limits)
			if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.names) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestParseTakesAPageOfExactlyTheLimit(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("x 1\n", 25)
	if _, err := Parse(strings.NewReader(page), "", nil, Limits{Bytes: int64(len(page)), Lines: 25}); err != nil {
		t.Error(err)
	}
}

func TestPageThatBreaksOffIsUnreachable(t *testing.T) {
	t.Parallel()
	r := io.MultiReader(strings.NewReader("http_requests_total 1\n"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := Parse(r, "", wantedFamilies, Limits{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, page := range []string{
		textPage, openMetricsPage, "", "# EOF", "# TYPE ttft_seconds", "http_requests_total{} 1e400\n",
		"http_requests_total{a=\"\\\"} 1\n", "ttft_seconds_bucket{le=\"NaN\"} 1\n", "{\"http_requests_total\"} 1\n",
		" \thttp_requests_total \t 1 \r\n", "http_requests_total\x00 1\n", "ttft_seconds_bucket 1\n",
	} {
		f.Add(page, false)
		f.Add(page, true)
	}
	f.Fuzz(func(t *testing.T, text string, asOpenMetrics bool) {
		contentType := ""
		if asOpenMetrics {
			contentType = openMetrics
		}
		limits := Limits{Bytes: 1 << 12, Line: 1 << 10, Lines: 50, Series: 20}
		page, err := Parse(strings.NewReader(text), contentType, wantedFamilies, limits)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("an error of no known kind: %v", err)
			}
			return
		}
		if sum, ok := page.Sum("http_requests_total", nil); ok && (sum < 0 || math.IsNaN(sum)) {
			t.Fatalf("a counter of %v was let in", sum)
		}
		buckets, count, _ := page.Buckets("ttft_seconds", nil)
		for edge, n := range buckets {
			if n > count {
				t.Fatalf("bucket %v holds %v of %v", edge, n, count)
			}
		}
	})
}
