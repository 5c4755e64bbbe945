package prometheus

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAQueryHasOneNumberOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	vector := func(list string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + list + `]}}`
	}
	scalar := func(v string) string {
		return `{"status":"success","data":{"resultType":"scalar","result":[1,"` + v + `"]}}`
	}
	tests := map[string]struct {
		status int
		answer string
		want   float64
		is     error
		says   string
	}{
		"a scalar is its value":                   {200, scalar("4.25"), 4.25, nil, ""},
		"a vector of one series is its value":     {200, vector(`{"metric":{},"value":[1,"7"]}`), 7, nil, ""},
		"infinity is the largest number":          {200, scalar("+Inf"), math.MaxFloat64, nil, ""},
		"and its negative the smallest":           {200, scalar("-Inf"), -math.MaxFloat64, nil, ""},
		"nothing is no value":                     {200, vector(""), 0, ErrNoValue, "empty"},
		"NaN is no value":                         {200, scalar("NaN"), 0, ErrNoValue, "NaN"},
		"two series are not one number":           {200, vector(`{"value":[1,"7"]},{"value":[1,"8"]}`), 0, ErrNotOne, "2 series"},
		"a range is not one number":               {200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`, 0, ErrNotOne, "matrix"},
		"a histogram is not one number":           {200, vector(`{"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}`), 0, ErrNotOne, "histogram"},
		"a query that is wrong is refused":        {400, `{"status":"error","errorType":"bad_data","error":"parse error at char 3"}`, 0, ErrRefused, "char 3"},
		"a server in trouble says nothing of it":  {503, `{"status":"error","errorType":"timeout","error":"query timed out"}`, 0, nil, "timed out"},
		"an answer of another kind is an error":   {200, `<html>`, 0, nil, "no query result"},
		"an answer without a kind is not a value": {200, `{"status":"success"}`, 0, ErrNotOne, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.FormValue("query"); got != "up{a='b'} & c" {
					t.Errorf("asked %q", got)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			}))
			t.Cleanup(server.Close)
			c, err := New(server.URL, server.Client())
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Value(t.Context(), "up{a='b'} & c")
			if got != tt.want || (err == nil) != (tt.says == "" && tt.is == nil) {
				t.Fatalf("%v, %v; want %v", got, err, tt.want)
			}
			if err != nil && (tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v is not %v, %q", err, tt.is, tt.says)
			}
			if tt.is == nil && err != nil && (errors.Is(err, ErrRefused) || errors.Is(err, ErrNotOne)) {
				t.Errorf("error %v would refuse the plan", err)
			}
		})
	}
}
