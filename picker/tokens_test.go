package picker

import (
	"fmt"
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
			each, from, ok := tok.perToken()
			if ok != (tc.from != "") || ok && (each != tc.want || from != tc.from) {
				t.Errorf("got %v by %s, %v", each, from, ok)
			}
			if len(tok.line) > maxLine {
				t.Errorf("%d bytes kept", len(tok.line))
			}
		})
	}
}

func TestTimePerOutputTokenIsObservedForWholeStreamedAnswers(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		contentType string
		whole       bool
		want        uint64
	}{
		"streamed": {"text/event-stream", true, 1},
		"cut":      {"text/event-stream", false, 0},
		"not SSE":  {"application/json", true, 0},
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
			g.responseBody("", tc.whole)
			g.conv.Close(extproc.Finished)
			if n, sum := g.histogram("infer_picker_tpot_seconds", "tokens", "events"); n != tc.want || sum != 0.05*float64(tc.want) {
				t.Errorf("%d of %v s", n, sum)
			}
		})
	}
}
