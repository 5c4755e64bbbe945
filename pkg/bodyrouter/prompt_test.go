package bodyrouter

import "testing"

func TestPromptAt(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct{ body, want string }{
		"a prompt, up to the next key":            {`{"model":"m","prompt":"a b","n":1}`, `:"a b","`},
		"a prompt that comes last":                {`{"n":1,"prompt" : "a b" }`, ` : "a b" }`},
		"messages":                                {`{"messages":[{"role":"user","content":"x"}],"model":"m"}`, `:[{"role":"user","content":"x"}],"`},
		"input":                                   {`{"input":["x",[1,2]],"model":"m"}`, `:["x",[1,2]],"`},
		"the first of several":                    {`{"input":"a","prompt":"b"}`, `:"a","`},
		"a key written with escapes is the same":  {`{"p\u0072ompt":"a"}`, `:"a"}`},
		"one below the top level is none":         {`{"x":{"prompt":"a"},"y":[{"messages":1}]}`, ""},
		"a longer key is another key":             {`{"prompts":"a","messages_":2,"inputs":3}`, ""},
		"its own words inside do not end it":      {`{"prompt":{"model":"prompt","prompt":1},"n":2}`, `:{"model":"prompt","prompt":1},"`},
		"no prompt":                               {`{"model":"m"}`, ""},
		"a body that breaks off: what there is":   {`{"prompt":"abc`, `:"abc`},
		"a body that is not JSON: nothing to see": {`hello "prompt":"a"`, ""},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			for cut := range len(tc.body) + 1 {
				s := NewScanner(10)
				_ = s.Scan([]byte(tc.body[:cut]))
				_ = s.Scan([]byte(tc.body[cut:]))
				if from, to := s.PromptAt(); tc.body[from:to] != tc.want {
					t.Fatalf("cut at %d: got %q, want %q", cut, tc.body[from:to], tc.want)
				}
			}
		})
	}
}
