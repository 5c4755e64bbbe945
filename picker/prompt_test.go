package picker

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// remember makes the picker look at prompts, in blocks of 64 bytes, and think of
// nothing else.
func (g *gateway) remember() {
	g.handler.Prefixes = prefix.New(prefix.Options{Block: 64, Blocks: 100, Entries: 4096, Window: time.Minute})
	g.picker.scorers = []Scorer{func(v View) float64 { return math.Exp(-100 * v.Missing) }}
}

func (g *gateway) again() {
	g.conv.Close(extproc.Finished)
	g.conv = extproc.NewConversation(g.handler.NewProcessor(), 1<<20, extproc.NewBudget(1<<30))
	g.mode(procv3.ProcessingMode_BUFFERED, procv3.ProcessingMode_STREAMED)
}

// turns is a chat in which n turns were said.
func turns(user string, n int) string {
	said := []string{fmt.Sprintf(`{"role":"system","content":"You speak to %s. %s"}`, user, strings.Repeat("Be kind. ", 60))}
	for i := range n {
		said = append(said, fmt.Sprintf(`{"role":"user","content":"turn %d of %s, %s"}`, i, user, strings.Repeat("la", 40)))
	}
	return strings.Join(said, ",")
}

func TestAConversationStaysWhereItsPromptIsHeld(t *testing.T) {
	t.Parallel()
	for rule, body := range map[string]string{
		"messages":                `{"model":"m","messages":[%s]}`,
		"messages after the rest": `{"temperature":0,"stream":true,"model":"m","messages":[%s]}`,
		"the model at the end":    `{"messages":[%s],"model":"m"}`,
		"a completion's prompt":   `{"prompt":[%s],"model":"m"}`,
	} {
		for _, mode := range []procv3.ProcessingMode_BodySendMode{procv3.ProcessingMode_BUFFERED, procv3.ProcessingMode_FULL_DUPLEX_STREAMED} {
			t.Run(rule+", "+mode.String(), func(t *testing.T) {
				t.Parallel()
				var endpoints []Endpoint
				for i := range 8 {
					endpoints = append(endpoints, loaded(i, 0, 0, 0))
				}
				g := newGateway(t, endpoints...)
				g.remember()
				homes := map[string]string{}
				for turn := range 6 {
					for user := range 12 {
						name := fmt.Sprint("user-", user)
						g.again()
						g.mode(mode, procv3.ProcessingMode_STREAMED)
						said := fmt.Sprintf(body, turns(name, turn))
						home, _, _ := choice(append(g.request(nil, false), g.requestBody(said)...))
						if turn > 0 && home != homes[name] {
							t.Errorf("turn %d of %s went to %s, before to %s", turn, name, home, homes[name])
						}
						homes[name] = home
					}
				}
				if got := g.counter("infer_picker_picks_total", "reason", "prefix"); got != 60 {
					t.Errorf("%v picks by prefix, want those of the five later turns", got)
				}
				if len(homes) < 2 {
					t.Error("everybody went to one endpoint")
				}
			})
		}
	}
}

func TestPromptsAreNotLookedAtWhereTheyCannotDecide(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		mode    procv3.ProcessingMode_BodySendMode
		headers []string
	}{
		"STREAMED: the headers are gone": {procv3.ProcessingMode_STREAMED, nil},
		"a form":                         {procv3.ProcessingMode_BUFFERED, []string{"content-type", "multipart/form-data"}},
		"a compressed body":              {procv3.ProcessingMode_BUFFERED, []string{"content-encoding", "gzip"}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, loaded(0, 0, 0, 0), loaded(1, 0, 0, 0))
			g.remember()
			for range 3 {
				g.again()
				g.mode(tc.mode, procv3.ProcessingMode_STREAMED)
				g.request(nil, false, tc.headers...)
				g.requestBody(`{"messages":[` + turns("a", 3) + `]}`)
			}
			if got := g.counter("infer_picker_picks_total", "reason", "prefix"); got != 0 {
				t.Errorf("%v picks by prefix", got)
			}
		})
	}
}

// The whole body is only read where something in it counts.
func TestTheBodyIsReadOnlyForWhatCounts(t *testing.T) {
	t.Parallel()
	long := `{"messages":[` + turns("a", 200) + `],"model":"m"}`
	broken := long + "}"
	for rule, tc := range map[string]struct {
		headers  []string
		rules    []string
		prefixes bool
		read     int // bytes, at most
	}{
		"the model is known, and no rule or prompt counts": {[]string{"x-gateway-model-name", "m"}, nil, false, 0},
		"a prompt counts: its first blocks":                {[]string{"x-gateway-model-name", "m"}, nil, true, 7000},
		"the model is not known":                           {nil, nil, false, len(broken)},
		"a rule is in force":                               {[]string{"x-gateway-model-name", "m"}, []string{"x>y"}, false, len(broken)},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, loaded(0, 0, 0, 0))
			if tc.prefixes {
				g.remember()
			}
			g.follow(tc.rules...)
			x := g.handler.NewProcessor().(*exchange)
			if _, err := x.Headers(request(tc.headers...)); err != nil {
				t.Fatal(err)
			}
			for rest := broken; rest != ""; rest = rest[min(100, len(rest)):] {
				_ = x.Body([]byte(rest[:min(100, len(rest))]))
			}
			if _, err := x.End(); err != nil {
				t.Fatal(err)
			}
			read := 0
			if x.body.scanner != nil {
				read = x.body.scanned
			}
			if read > tc.read || tc.read == len(broken) && read != tc.read {
				t.Errorf("read %d of %d bytes, want %d", read, len(broken), tc.read)
			}
			x.Close(extproc.Outcome{})
		})
	}
}

func request(headers ...string) *extproc.Request {
	r := extproc.NewRequest(headerMap(headers...), nil)
	r.AnswerNow, r.CanSplice = true, true
	return r
}

func TestTheModelInTheBodyCountsWhereNoHeaderTellsIt(t *testing.T) {
	t.Parallel()
	g := newGateway(t, serving(0, "base"), serving(1, "base", "sql-lora"))
	for range 20 {
		g.again()
		answers := append(g.request(nil, false), g.requestBody(`{"model":"sql-lora"}`)...)
		if got, _, _ := choice(answers); got != "10.0.0.2:8000" {
			t.Fatalf("sent to %s, which does not have the adapter", got)
		}
	}
	g.conv.Close(extproc.Finished)
	g.expect("infer_picker_requests_started_total", `
		infer_picker_requests_started_total{model="sql-lora",namespace="ns",pool="pool",target_model="sql-lora"} 20`)
}
