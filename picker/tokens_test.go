package picker

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

func TestTimePerOutputToken(t *testing.T) {
	t.Parallel()
	event := func(n int) string { return fmt.Sprintf("data: {\"choices\":[{\"text\":\"%d\"}]}\n\n", n) }
	usage := func(n int) string {
		return fmt.Sprintf("data: {\"choices\":[],\"usage\":{\"completion_tokens\": %d,\"prompt_tokens\":9}}\n\n", n)
	}
	const done = "data: [DONE]\n\n"
	for rule, tc := range map[string]struct {
		chunks []string // 100 ms apart
		want   time.Duration
		from   string
	}{
		"events: the last one minus the first, over n - 1": {[]string{event(1), event(2), event(3)}, 100 * time.Millisecond, "events"},
		"usage counts before events":                       {[]string{event(1), event(2), event(3) + usage(11) + done}, 20 * time.Millisecond, "usage"},
		"the last usage counts":                            {[]string{usage(2), event(1) + usage(5)}, 25 * time.Millisecond, "usage"},
		"[DONE] is no token, and no last chunk":            {[]string{event(1), event(2), done}, 100 * time.Millisecond, "events"},
		"comments are none":                                {[]string{event(1), ": keep-alive\n\n", event(2)}, 200 * time.Millisecond, "events"},
		"two events in a chunk":                            {[]string{event(1), event(2) + event(3)}, 50 * time.Millisecond, "events"},
		"an event cut in two is one, and comes at its end": {[]string{event(1), event(2)[:9], event(2)[9:]}, 200 * time.Millisecond, "events"},
		"usage cut in two":                                 {[]string{event(1), usage(3)[:40], usage(3)[40:]}, 100 * time.Millisecond, "usage"},
		"usage in the text of an answer is text":           {[]string{event(1), `data: {"text":"\"completion_tokens\": 99"}` + "\n\n"}, 100 * time.Millisecond, "events"},
		"one chunk has no time between tokens":             {[]string{event(1) + event(2) + done}, 0, ""},
		"one token has none":                               {[]string{event(1), done}, 0, ""},
		"a long line counts as an event":                   {[]string{event(1), "data: " + strings.Repeat("x", 3*maxLine), "\n\n"}, 200 * time.Millisecond, "events"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			var tok tokens
			for i, chunk := range tc.chunks {
				tok.add([]byte(chunk), time.Unix(0, 0).Add(time.Duration(i)*100*time.Millisecond))
			}
			each, from, ok := tok.perToken(true, time.Hour)
			if ok != (tc.from != "") || ok && (each != tc.want || from != tc.from) {
				t.Errorf("got %v by %s, %v", each, from, ok)
			}
			if len(tok.line) > maxLine {
				t.Errorf("%d bytes kept", len(tok.line))
			}
		})
	}
}

func TestUsageIsReadFromTheEndOfAnAnswer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("la ", maxLine)
	for rule, tc := range map[string]struct {
		body           string
		prompt, output int
	}{
		"a chat":                           {`{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":7,"total_tokens":17,"completion_tokens":10}}`, 7, 10},
		"a response":                       {`{"output":[],"usage":{"input_tokens":7,"output_tokens":10,"output_tokens_details":{"reasoning_tokens":3}}}`, 7, 10},
		"after a long text":                {`{"choices":[{"text":"` + long + `"}],"usage":{"prompt_tokens": 7,"completion_tokens": 10}}`, 7, 10},
		"usage in the text is text":        {`{"choices":[{"text":"\"completion_tokens\": 99"}]}`, 0, 0},
		"no usage":                         {`{"choices":[]}`, 0, 0},
		"what is no number counts nothing": {`{"usage":{"prompt_tokens":null,"completion_tokens":-3}}`, 0, 0},
		"no JSON":                          {"hello", 0, 0},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1, 7, 5000, 100_000} {
				var tok tokens
				for rest := []byte(tc.body); len(rest) > 0; rest = rest[min(size, len(rest)):] {
					tok.tail(rest[:min(size, len(rest))])
				}
				if len(tok.line) > maxLine {
					t.Fatalf("%d bytes kept", len(tok.line))
				}
				if tok.usage(tok.line); tok.prompt != tc.prompt || tok.output != tc.output {
					t.Errorf("in pieces of %d: %d and %d", size, tok.prompt, tok.output)
				}
			}
		})
	}
}

func TestTokensOfWholeAnswersAreObserved(t *testing.T) {
	t.Parallel()
	const usage = `"usage":{"prompt_tokens":7,"completion_tokens":5}}`
	for rule, tc := range map[string]struct {
		contentType string
		last        string // what comes after three events, 50 ms apart
		whole       bool
		streaming   string
		from        string
		tpot        float64 // 0: not observed
		tokens      uint64  // answers whose tokens are counted
	}{
		"streamed, by events":     {"text/event-stream", "", true, "true", "events", 0.05, 0},
		"streamed, by usage":      {"text/event-stream", "data: {" + usage + "\n\n", true, "true", "usage", 0.0375, 1},
		"cut":                     {"text/event-stream", "data: {" + usage + "\n\n", false, "true", "usage", 0, 0},
		"not streamed, by usage":  {"application/json", "{" + usage, true, "false", "usage", 0.04, 1},
		"not streamed, not told":  {"application/json", "{}", true, "false", "usage", 0, 0},
		"not streamed, and cut":   {"application/json", "{" + usage, false, "false", "usage", 0, 0},
		"of another content type": {"application/octet-stream", "{" + usage, true, "false", "usage", 0.04, 1},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, loaded(0, 0, 0, 0))
			g.request(nil, true, "x-gateway-model-name", "m")
			g.responseHeaders(nil, false, ":status", "200", "content-type", tc.contentType)
			for range 3 {
				g.clock.Step(50 * time.Millisecond)
				g.responseBody("data: {}\n\n", false)
			}
			if tc.last != "" {
				g.clock.Step(50 * time.Millisecond)
				g.responseBody(tc.last, false)
			}
			g.responseBody("", tc.whole)
			g.conv.Close(extproc.Finished)
			n, sum := g.histogram("infer_picker_tpot_seconds", "tokens", tc.from)
			if want := map[bool]uint64{true: 1}[tc.tpot > 0]; n != want || math.Abs(sum-tc.tpot) > 1e-9 {
				t.Errorf("%d of %v s", n, sum)
			}
			if tc.tpot > 0 {
				if n, _ := g.histogram("infer_picker_tpot_seconds", "streaming", tc.streaming); n != 1 {
					t.Errorf("not labelled streaming=%s", tc.streaming)
				}
			}
			for family, each := range map[string]float64{"infer_picker_prompt_tokens": 7, "infer_picker_output_tokens": 5} {
				if n, sum := g.histogram(family, "model", "m"); n != tc.tokens || sum != each*float64(tc.tokens) {
					t.Errorf("%s: %d answers, %v tokens", family, n, sum)
				}
			}
		})
	}
}
