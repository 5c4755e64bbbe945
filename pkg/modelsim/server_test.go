package modelsim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testServer is a server in virtual time: recorders instead of a network.
type testServer struct {
	*Server
	handler http.Handler
	log     bytes.Buffer
}

func newTestServer(t *testing.T, change func(*Config)) *testServer {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Model, cfg.ServedNames, cfg.Pod, cfg.Namespace, cfg.Jitter = "/models/qwen-v1", []string{"qwen"}, "qwen-v1-x", "default", 0
	if change != nil {
		change(&cfg)
	}
	ts := &testServer{}
	s, err := NewServer(cfg, &ts.log)
	if err != nil {
		t.Fatal(err)
	}
	ts.Server, ts.handler = s, s.Handler()
	return ts
}

func (ts *testServer) do(method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	ts.handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

// inBubble runs a test with a server in virtual time.
func inBubble(t *testing.T, change func(*Config), f func(*testing.T, *testServer)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ts := newTestServer(t, change)
		defer ts.Close()
		f(t, ts)
	})
}

const chatBody = `{"model":"qwen","messages":[{"role":"user","content":"Who are you?"}]`

func TestChatAnswersInJSON(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ts *testServer) {
		start := time.Now()
		w := ts.do("POST", "/v1/chat/completions", chatBody+`,"max_tokens":5}`)
		var got reply
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		if got.Object != "chat.completion" || got.Model != "qwen" || *got.Choices[0].Message.Content != "I am qwen-v1, a simulated" ||
			*got.Choices[0].FinishReason != "length" || *got.Usage != (usage{PromptTokens: 5, CompletionTokens: 5, TotalTokens: 10}) {
			t.Errorf("answer %s", w.Body)
		}
		if w.Header().Get("x-inference-pod") != "qwen-v1-x" || w.Header().Get("x-inference-namespace") != "default" {
			t.Errorf("headers %v", w.Header())
		}
		// Five tokens of prompt: half of --ttft and 5/128 of the other half.
		if took, want := time.Since(start).Round(time.Millisecond), 92*time.Millisecond; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
		if want := "INFO:     192.0.2.1:1234 - \"POST /v1/chat/completions HTTP/1.1\" 200 OK\n"; ts.log.String() != want {
			t.Errorf("access log %q, want %q", ts.log.String(), want)
		}
	})
}

func TestStreamsEndWithUsageAndDone(t *testing.T) {
	for path, body := range map[string]string{
		"/v1/chat/completions": chatBody,
		"/v1/completions":      `{"model":"qwen","prompt":"Who are you?"`,
	} {
		t.Run(path, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, ts *testServer) {
				w := ts.do("POST", path, body+`,"stream":true,"ignore_eos":true,"max_tokens":40,"stream_options":{"include_usage":true}}`)
				events := strings.Split(strings.TrimSuffix(w.Body.String(), "\n\n"), "\n\n")
				if ct := w.Header().Get("Content-Type"); ct != "text/event-stream; charset=utf-8" || events[len(events)-1] != "data: [DONE]" {
					t.Fatalf("content type %s, last event %s", ct, events[len(events)-1])
				}
				var text strings.Builder
				var finish string
				var last reply
				pieces := 0
				for _, e := range events[:len(events)-1] {
					last = reply{}
					if err := json.Unmarshal([]byte(strings.TrimPrefix(e, "data: ")), &last); err != nil {
						t.Fatalf("event %q: %v", e, err)
					}
					for _, c := range last.Choices {
						if c.FinishReason != nil {
							finish += *c.FinishReason
						}
						if c.Delta == nil || c.Delta.Role == "" {
							pieces++
						}
						switch {
						case c.Text != nil:
							text.WriteString(*c.Text)
						case c.Delta.Content != nil:
							text.WriteString(*c.Delta.Content)
						}
					}
				}
				if n := len(strings.Fields(text.String())); n != 40 || pieces != 40 || !strings.HasPrefix(text.String(), "I am qwen-v1, a simulated model. The rest") {
					t.Errorf("%d words in %d pieces: %s", n, pieces, text.String())
				}
				if finish != "length" || last.Usage == nil || last.Usage.CompletionTokens != 40 || len(last.Choices) != 0 {
					t.Errorf("finish %q, last chunk %+v", finish, last)
				}
			})
		})
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path, body  string
		status      int
		kind, param string
	}{
		"an unknown model is 404":             {"completions", `{"model":"nope","prompt":"x"}`, 404, typeNotFound, "model"},
		"an unknown path is 404":              {"embeddings", `{}`, 404, "Not Found", ""},
		"broken JSON is 400":                  {"completions", `{"model":`, 400, typeSchema, ""},
		"an array body is 400":                {"chat/completions", `[]`, 400, typeSchema, ""},
		"no prompt is 400":                    {"completions", `{"model":"qwen"}`, 400, typeSchema, "prompt"},
		"no messages is 400":                  {"chat/completions", `{"model":"qwen","messages":[]}`, 400, typeSchema, "messages"},
		"no prompts is 400":                   {"completions", `{"prompt":[]}`, 400, typeSchema, "prompt"},
		"a prompt of objects is 400":          {"completions", `{"prompt":[{}]}`, 400, typeSchema, "prompt"},
		"no choice is 400":                    {"completions", `{"prompt":"a","n":0}`, 400, typeBadRequest, "n"},
		"choices past the batch are 400":      {"completions", `{"prompt":["a","b"],"n":129}`, 400, typeBadRequest, "n"},
		"max_tokens 0 is 400":                 {"completions", `{"prompt":"a","max_tokens":0}`, 400, typeBadRequest, "max_tokens"},
		"more than the context length is 400": {"completions", `{"prompt":"a","max_tokens":8192}`, 400, typeBadRequest, ""},
		"stream options without stream 400":   {"completions", `{"prompt":"a","stream_options":{}}`, 400, typeSchema, "stream_options"},
		"a body over the limit is 413":        {"completions", strings.Repeat(" ", 2000), 413, typeBadRequest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *Config) { c.MaxBody = 1000 }, func(t *testing.T, ts *testServer) {
				w := ts.do("POST", "/v1/"+tc.path, tc.body)
				var got struct{ Error errorBody }
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Fatalf("%s: %v", w.Body, err)
				}
				if w.Code != tc.status || got.Error.Code != tc.status || got.Error.Type != tc.kind || got.Error.Message == "" {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				if got := got.Error.Param; (got == nil) != (tc.param == "") || got != nil && *got != tc.param {
					t.Errorf("param %v, want %q", got, tc.param)
				}
			})
		})
	}
}

func TestPromptForms(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path, body string
		tokens     int
	}{
		"a string":            {"completions", `{"prompt":"12345678"}`, 2},
		"a list of one":       {"completions", `{"prompt":["12345678"]}`, 2},
		"token ids":           {"completions", `{"prompt":[1,2,3]}`, 3},
		"several strings":     {"completions", `{"prompt":["12345678","1"]}`, 3},
		"several lists":       {"completions", `{"prompt":[[1,2],[3,4,5]]}`, 5},
		"a prompt of two":     {"completions", `{"prompt":"12345678","n":2}`, 2},
		"an empty string":     {"completions", `{"prompt":""}`, 1},
		"parts of a message":  {"chat/completions", `{"messages":[{"role":"user","content":[{"type":"text","text":"12345"},{"type":"text","text":"6789"}]}]}`, 4},
		"a message with null": {"chat/completions", `{"messages":[{"role":"user","content":null}]}`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, ts *testServer) {
				var got reply
				w := ts.do("POST", "/v1/"+tc.path, tc.body)
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Usage == nil || got.Usage.PromptTokens != tc.tokens {
					t.Errorf("%d %s, want %d tokens", w.Code, w.Body, tc.tokens)
				}
			})
		})
	}
}

func TestLoRALifeCycle(t *testing.T) {
	inBubble(t, func(c *Config) { c.EnableLoRA, c.MaxAdapters = true, 1 }, func(t *testing.T, ts *testServer) {
		const load = `{"lora_name":"travel","lora_path":"/models/travel"}`
		for _, step := range []struct {
			rule, path, body string
			status           int
			contains         string
		}{
			{"unknown before it is loaded", "completions", `{"model":"travel","prompt":"x"}`, 404, "`travel` does not exist"},
			{"a path is required", "load_lora_adapter", `{"lora_name":"travel"}`, 400, "must be provided"},
			{"loaded", "load_lora_adapter", load, 200, "Success: LoRA adapter 'travel' added successfully."},
			{"not twice", "load_lora_adapter", load, 400, "already been loaded"},
			{"not past the limit", "load_lora_adapter", `{"lora_name":"b","lora_path":"/b"}`, 400, "--max-lora-modules"},
			{"answers in its own name", "completions", `{"model":"travel","prompt":"x"}`, 200, `"model":"travel"`},
			{"says who it is", "completions", `{"model":"travel","prompt":"x"}`, 200, "I am travel, a LoRA adapter on qwen-v1."},
			{"unloaded", "unload_lora_adapter", `{"lora_name":"travel"}`, 200, "removed successfully."},
			{"gone", "unload_lora_adapter", `{"lora_name":"travel"}`, 404, "cannot be found"},
		} {
			w := ts.do("POST", "/v1/"+step.path, step.body)
			if w.Code != step.status || !strings.Contains(w.Body.String(), step.contains) {
				t.Errorf("%s: %d %s", step.rule, w.Code, w.Body)
			}
			if step.rule == "loaded" {
				list := ts.do("GET", "/v1/models", "").Body.String()
				for _, want := range []string{`"id":"qwen"`, `"root":"/models/qwen-v1"`, `"id":"travel"`, `"parent":"qwen"`} {
					if !strings.Contains(list, want) {
						t.Errorf("models lack %s: %s", want, list)
					}
				}
			}
		}
	})
}

func TestAdaptersNeedLoRA(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ts *testServer) {
		if w := ts.do("POST", "/v1/load_lora_adapter", `{"lora_name":"a","lora_path":"/a"}`); w.Code != 400 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestFaultsOfARunningServer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ts *testServer) {
		took := func() time.Duration {
			start := time.Now()
			ts.do("POST", "/v1/completions", `{"prompt":"x","max_tokens":10}`)
			return time.Since(start)
		}
		healthy := took()
		if w := ts.do("PUT", "/sandbox/faults", `{"slowFactor":4}`); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if got := took(); got < healthy*39/10 || got > healthy*41/10 {
			t.Errorf("slowed 4 times: %v instead of %v", got, healthy)
		}
		if got := ts.do("GET", "/sandbox/faults", "").Body.String(); got != `{"slowFactor":4}`+"\n" {
			t.Errorf("faults in force: %s", got)
		}
		if w := ts.do("PUT", "/sandbox/faults", `{"errorRate":2}`); w.Code != 400 || ts.loop.currentFaults().SlowFactor != 4 {
			t.Errorf("a refused change: %d, faults now %+v", w.Code, ts.loop.currentFaults())
		}
		ts.do("PUT", "/sandbox/faults", `{"errorRate":0.25}`)
		failed := 0
		for range 400 {
			if ts.do("POST", "/v1/completions", `{"prompt":"x","max_tokens":1}`).Code == 500 {
				failed++
			}
		}
		if failed < 75 || failed > 125 {
			t.Errorf("%d of 400 failed at a rate of 0.25", failed)
		}
	})
}

func TestAHungServerKeepsItsClientsWaiting(t *testing.T) {
	inBubble(t, func(c *Config) { c.Faults.Hang = true }, func(t *testing.T, ts *testServer) {
		answered := make(chan int, 1)
		go func() { answered <- ts.do("POST", "/v1/completions", `{"prompt":"x","max_tokens":1}`).Code }()
		<-time.After(time.Hour)
		synctest.Wait()
		if len(answered) != 0 || ts.do("GET", "/health", "").Code != 200 || ts.loop.load().Running != 1 {
			t.Errorf("after an hour: %d answers, load %+v", len(answered), ts.loop.load())
		}
		ts.do("PUT", "/sandbox/faults", `{}`)
		if code := <-answered; code != 200 {
			t.Errorf("mended: %d", code)
		}
	})
}

func TestAClientThatLeavesFreesItsPlace(t *testing.T) {
	inBubble(t, func(c *Config) { c.Faults.Hang = true }, func(t *testing.T, ts *testServer) {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			r := httptest.NewRequestWithContext(ctx, "POST", "/v1/completions", strings.NewReader(`{"prompt":"x"}`))
			ts.handler.ServeHTTP(httptest.NewRecorder(), r)
		}()
		synctest.Wait()
		cancel()
		<-gone
		if l := ts.loop.load(); l.Running != 0 {
			t.Errorf("load %+v", l)
		}
		if page := ts.do("GET", "/metrics", "").Body.String(); !strings.Contains(page, `vllm:request_success_total{engine="0",finished_reason="abort",model_name="qwen"} 1`) {
			t.Errorf("the abort is not counted:\n%s", page)
		}
	})
}

func TestABudgetBoundsTheBodiesBeingRead(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxBody, c.MaxBodies = 100, 150 }, func(t *testing.T, ts *testServer) {
		body, send := io.Pipe()
		first := make(chan int, 1)
		go func() {
			w := httptest.NewRecorder()
			ts.handler.ServeHTTP(w, httptest.NewRequest("POST", "/v1/completions", body))
			first <- w.Code
		}()
		synctest.Wait() // the first one holds its share and waits for bytes
		if w := ts.do("POST", "/v1/completions", strings.Repeat("x", 90)); w.Code != 503 {
			t.Errorf("a second body past the budget: %d", w.Code)
		}
		_, _ = io.WriteString(send, `{"prompt":"x","max_tokens":1}`)
		_ = send.Close()
		if code := <-first; code != 200 || ts.bodies.Load() != 0 {
			t.Errorf("the first: %d, %d bytes still reserved", code, ts.bodies.Load())
		}
	})
}
