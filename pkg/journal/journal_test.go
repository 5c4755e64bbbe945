package journal

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	plan := `"plan":{"target":"httproute/chat","steps":[5,50],"gates":["errors < 1%"]},"baseline":{"uid":"u"},"run":"r","epoch":3,"phase":"Baking"`
	tests := map[string]struct {
		raw  string
		from rollout.Goal
		err  string
		hint string
	}{
		"the first format lacked where a raise began": {`{"format":1,"step":1,` + plan + `}`, 5, "", ""},
		"the second knew one target":                  {`{"format":2,"step":1,"from":5,` + plan + `}`, 5, "", ""},
		"the present one":                             {`{"format":3,"step":1,"from":5,` + plan + `}`, 5, "", ""},
		"a newer one is refused":                      {`{"format":4,` + plan + `}`, 0, "format 4 is not known", "newer"},
		"no format is refused":                        {`{` + plan + `}`, 0, "format 0", "version"},
		"what is no JSON is an error":                 {`{"format":3,`, 0, "read journal", ""},
		"a field of the wrong type is an error":       {`{"format":3,"epoch":"x"}`, 0, "read journal", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Decode([]byte(tt.raw))
			if (err != nil) != (tt.err != "") || (err != nil && (!strings.Contains(err.Error(), tt.err) || !strings.Contains(hint.Of(err), tt.hint))) {
				t.Fatalf("error %v, hint %q", err, hint.Of(err))
			}
			if err != nil {
				return
			}
			if got.Format != rollout.RecordFormat || got.From != tt.from || got.Epoch != 3 || len(got.Plan.Targets()) != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"format":1,"step":1,"plan":{"steps":[5,50],"addBackend":true}}`))
	f.Add([]byte(`{"format":2,"step":-1,"gates":{},"steps":[{}]}`))
	f.Add([]byte(`{"format":3,"also":[{}],"plan":{"also":["a/b"]},"started":"2026-11-21T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		record, err := Decode(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(record)
		if err != nil {
			t.Fatalf("a record that was read cannot be written: %v", err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("a record that was written cannot be read: %v", err)
		}
	})
}

func TestARecordOverTheSizeBoundIsNotWritten(t *testing.T) {
	t.Parallel()
	s := &Store{name: "infer-httproute-chat"} // no client: the bound is checked first
	err := s.Save(t.Context(), rollout.Record{Reason: strings.Repeat("x", maxBytes)})
	if err == nil || !strings.Contains(err.Error(), "over the limit of 262144") {
		t.Errorf("error %v", err)
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 252) + "b"
	tests := map[string]struct{ kind, name, want string }{
		"kind and name":             {"HTTPRoute", "chat", "infer-httproute-chat"},
		"the longest that fits":     {"httproute", strings.Repeat("a", 237), "infer-httproute-" + strings.Repeat("a", 237)},
		"a longer one has a hash":   {"httproute", long, Name("httproute", long)},
		"which tells names apart":   {"httproute", long[:252] + "c", Name("httproute", long[:252]+"c")},
		"and never ends in a point": {"httproute", strings.Repeat("a.", 126), Name("httproute", strings.Repeat("a.", 126))},
	}
	seen := map[string]string{}
	for name, tt := range tests {
		got := Name(tt.kind, tt.name)
		if got != tt.want || len(got) > maxName || strings.Contains(got, ".-") {
			t.Errorf("%s: %q", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s have one journal", name, other)
		}
		seen[got] = name
	}
}
