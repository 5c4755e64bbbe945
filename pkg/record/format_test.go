package record_test

import (
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/record"
)

const (
	head = `{"canaryRecord":1,"started":"2026-01-01T00:00:00Z","edges":[null],"plan":{"target":"httproute/chat","namespace":"default",` +
		`"stable":"v1","canary":"v2","steps":[50],"gates":["errors < 1%"],"bake":20000000000,"settle":0,"scrapeInterval":2000000000,"minRequests":100,"alpha":0.01}}` + "\n"
	arm    = `{"started":3,"finished":3,"progress":3,"running":1,"ready":2,"restarts":0,"rows":[[3,0]]}`
	window = `{"at":"2026-01-01T00:00:02Z","window":{"stable":` + arm + `,"canary":` + arm + "}}\n"
)

func TestAMalformedFileIsRefusedByLine(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct{ file, says string }{
		"an empty file":                      {"", "line 1: the file is empty"},
		"no header":                          {window, "line 1: no header"},
		"another format":                     {strings.Replace(head, `canaryRecord":1`, `canaryRecord":2`, 1), "line 1: format 2; this build reads 1"},
		"a plan that cannot be":              {strings.Replace(head, `"steps":[50]`, `"steps":[50,20]`, 1), "line 1: steps [50 20] must rise"},
		"a gate that cannot be read":         {strings.Replace(head, "errors < 1%", "errors > 1%", 1), "line 1: gate:"},
		"edges that do not fit the gates":    {strings.Replace(head, `"edges":[null]`, `"edges":[]`, 1), "line 1: edges for 0 gates"},
		"no JSON":                            {head + window + "{\n", "line 3: unexpected EOF"},
		"a field that means nothing":         {head + strings.Replace(window, `"at"`, `"when":1,"at"`, 1), `line 2: json: unknown field "when"`},
		"a line without a time":              {head + `{"act":"save"}`, "line 2: no time"},
		"a line that says nothing":           {head + `{"at":"2026-01-01T00:00:02Z"}`, "line 2: neither a window, an act nor a decision"},
		"answers nobody asked for":           {head + strings.Replace(window, `"window"`, `"answers":[{"value":1}],"window"`, 1), "line 2: 1 answers for 0 promql gates"},
		"too few rows":                       {head + strings.Replace(window, `"rows":[[3,0]]`, `"rows":[]`, 1), "line 2: stable: 0 rows for 1 gates"},
		"a row that does not fit":            {head + strings.Replace(window, `[[3,0]]`, `[[3,0,0]]`, 1), `line 2: stable: the row of gate "errors < 1%" has 3 numbers`},
		"a count that is no integer":         {head + strings.Replace(window, `[[3,0]]`, `[[3,0.5]]`, 1), "line 2: json: cannot unmarshal number 0.5"},
		"a negative count":                   {head + strings.Replace(window, `"started":3`, `"started":-3`, 1), "line 2: json: cannot unmarshal number -3"},
		"blind, and counts all the same":     {head + strings.Replace(window, `"started":3`, `"blind":"away","started":3`, 1), "line 2: stable: blind, and counts"},
		"time that goes back":                {head + window + strings.Replace(window, "00:02Z", "00:01Z", 1), "line 3: its time is before the line above"},
		"two values in a line":               {head + strings.TrimSpace(window) + window, "line 2: more than one JSON value"},
		"a line that is too long":            {head + `{"at":"` + strings.Repeat("x", 2<<20) + `"}`, "line 2: bufio.Scanner: token too long"},
		"a blank line counts, and is passed": {head + "\n" + "{}\n", "line 3: no time"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			_, err := record.Read(strings.NewReader(tc.file))
			if err == nil || !strings.Contains(err.Error(), tc.says) || hint.Of(err) == "" {
				t.Errorf("got %v (hint %q), want %q", err, hint.Of(err), tc.says)
			}
		})
	}
	if _, err := record.Read(strings.NewReader(head + window)); err != nil {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(head + window)
	f.Add(head + `{"at":"2026-01-01T00:00:02Z","act":"read","standing":{"share":5}}`)
	f.Fuzz(func(t *testing.T, file string) {
		run, err := record.Read(strings.NewReader(file))
		if err != nil {
			return
		}
		_, _ = record.Replay(run, nil) // ends, and does not panic
	})
}
