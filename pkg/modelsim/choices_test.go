package modelsim

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestEachPromptGetsItsChoices(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ts *testServer) {
		var got reply
		w := ts.do("POST", "/v1/completions", `{"prompt":["12345678","1234"],"n":2,"max_tokens":9,"ignore_eos":true}`)
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Choices) != 4 {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		for i, c := range got.Choices {
			if c.Index != i || len(strings.Fields(*c.Text)) != 9 || *c.FinishReason != "length" {
				t.Errorf("choice %d: %+v", i, c)
			}
		}
		if *got.Usage != (usage{PromptTokens: 3, CompletionTokens: 36, TotalTokens: 39}) {
			t.Errorf("each prompt counts once: %+v", *got.Usage)
		}
		if l := ts.loop.load(); l.Running+l.Waiting != 0 || len(ts.loop.wake) != 0 {
			t.Errorf("left behind: %+v, %d waiting channels", l, len(ts.loop.wake))
		}
	})
}

func TestStreamedChoicesEachBeginAndEnd(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxNumSeqs = 3 }, func(t *testing.T, ts *testServer) {
		w := ts.do("POST", "/v1/chat/completions", chatBody+`,"n":3,"stream":true,"max_tokens":20,"ignore_eos":true}`)
		var roles, ends [3]int
		var words [3]string
		for event := range strings.SplitSeq(strings.TrimSpace(w.Body.String()), "\n\n") {
			var r reply
			if event == "data: [DONE]" {
				continue
			}
			if err := json.Unmarshal([]byte(strings.TrimPrefix(event, "data: ")), &r); err != nil || len(r.Choices) != 1 {
				t.Fatalf("%s: %v", event, err)
			}
			c := r.Choices[0]
			words[c.Index] += *c.Delta.Content
			if c.Delta.Role != "" {
				roles[c.Index]++
			}
			if c.FinishReason != nil {
				ends[c.Index]++
			}
		}
		if once := [3]int{1, 1, 1}; roles != once || ends != once {
			t.Errorf("roles %v, ends %v", roles, ends)
		}
		for i, text := range words {
			if len(strings.Fields(text)) != 20 {
				t.Errorf("choice %d has %q", i, text)
			}
		}
	})
}

func TestChoicesAreTakenAllOrNone(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxNumSeqs, c.MaxWaiting, c.Faults.Hang = 4, 0, true }, func(t *testing.T, ts *testServer) {
		jobs := func(n int) []Job {
			list := make([]Job, n)
			for i := range list {
				list[i] = Job{PromptTokens: 1, OutputTokens: 1}
			}
			return list
		}
		if _, _, err := ts.loop.submit(jobs(2)); err != nil {
			t.Fatal(err)
		}
		if w := ts.do("POST", "/v1/completions", `{"prompt":"x","n":3}`); w.Code != 503 {
			t.Errorf("3 choices beside 2 in a batch of 4 and no queue: %d %s", w.Code, w.Body)
		}
		if l := ts.loop.load(); l.Running != 2 || l.Waiting != 0 || len(ts.loop.wake) != 2 {
			t.Errorf("after the refusal %+v, %d waiting channels", l, len(ts.loop.wake))
		}
	})
}

func TestTheBaseAnswersInItsFirstName(t *testing.T) {
	inBubble(t, func(c *Config) { c.ServedNames = []string{"qwen", "alias"} }, func(t *testing.T, ts *testServer) {
		for _, asked := range []string{"", "qwen", "alias"} {
			w := ts.do("POST", "/v1/completions", fmt.Sprintf(`{"model":%q,"prompt":"x","max_tokens":1}`, asked))
			if w.Code != 200 || !strings.Contains(w.Body.String(), `"model":"qwen"`) {
				t.Errorf("asked %q: %d %s", asked, w.Code, w.Body)
			}
		}
	})
}
