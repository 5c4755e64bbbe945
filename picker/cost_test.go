package picker

import (
	"math"
	"testing"
	"time"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
)

// crowd is a picker over n endpoints with fresh loads, and a request that every
// part of a choice has work with: a hint that names them all, an adapter, a prompt
// that all of them hold.
func crowd(n int) (*Picker, *Request) {
	var endpoints []Endpoint
	var listed []any
	for i := range n {
		e := endpoint(i)
		e.Live.Serve(Models{"base": false, "lora": true})
		e.Live.Report(Load{At: time.Now().Add(time.Hour), Running: float64(i % 7), MaxAdapters: 4, ActiveAdapters: []string{"other", "lora"}})
		endpoints = append(endpoints, e)
		listed = append(listed, e.Value)
	}
	p := New(Options{Scorers: append(testScorers(), func(v View) float64 { return 1 / (1 + 3*v.Missing) })})
	p.SetSnapshot(&Snapshot{Endpoints: endpoints})
	index := prefix.New(prefix.Options{Block: 16, Blocks: prefix.MaxBlocks, Entries: 4096, Window: time.Hour})
	prompt := index.NewPrompt()
	prompt.Write(make([]byte, 16*prefix.MaxBlocks))
	for i := range endpoints {
		index.Learn(prompt, "lora", endpoints[i].Live.Slot(), time.Now())
	}
	r := &Request{Model: "lora", Prompt: &prefix.Match{}, Deadline: time.Now().Add(time.Hour)}
	index.Lookup(prompt, "lora", time.Now(), r.Prompt)
	list, _ := structpb.NewList(listed)
	r.Subset = SubsetOf(structpb.NewListValue(list))
	return p, r
}

func TestPickAllocatesNothing(t *testing.T) {
	p, r := crowd(100)
	if c := p.Pick(r); c.Candidates != 100 || c.Reason != ByPrefix || c.View.Adapter != AdapterActive {
		t.Fatalf("got %+v", c)
	}
	if n := testing.AllocsPerRun(100, func() { p.Pick(r) }); n != 0 {
		t.Errorf("%v allocations per pick", n)
	}
}

// fastest is the least time that a pick took: what the machine does beside it only
// adds.
func fastest(n int) time.Duration {
	p, r := crowd(n)
	least := time.Duration(math.MaxInt64)
	for range 50_000 / n {
		began := time.Now()
		p.Pick(r)
		least = min(least, time.Since(began))
	}
	return least
}

// 100 endpoints took 12 µs on the machine of docs/endpoint-picker.md; ten times the
// bound of 20 µs is far from noise, and near to anything that is not linear.
func TestAPickOverManyEndpointsIsQuick(t *testing.T) {
	hundred, thousand := fastest(100), fastest(1000)
	t.Logf("100 endpoints %v, 1000 endpoints %v", hundred, thousand)
	if hundred > 200*time.Microsecond || thousand > 40*hundred {
		t.Errorf("100 endpoints %v, 1000 endpoints %v", hundred, thousand)
	}
}

func BenchmarkPick100(b *testing.B) {
	p, all := crowd(100)
	for name, r := range map[string]*Request{
		"free": {}, "prompt": {Model: "base", Prompt: all.Prompt, Deadline: all.Deadline}, "hint, adapter and prompt": all,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Pick(r)
			}
		})
	}
}

// Headers that wait for the body are picked for when it is known, and not twice.
func TestARequestHeldForItsPromptIsPickedForOnce(t *testing.T) {
	t.Parallel()
	for rule, body := range map[string]string{
		"a prompt":                `{"model":"m","messages":[` + turns("a", 3) + `]}`,
		"too short for a block":   `{"model":"m","prompt":"x"}`,
		"a body that is not JSON": `x`,
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, loaded(0, 0, 0, 0), loaded(1, 0, 0, 0))
			g.remember()
			scored := 0
			g.picker.scorers = []Scorer{func(View) float64 { scored++; return 1 }}
			g.mode(procv3.ProcessingMode_FULL_DUPLEX_STREAMED, procv3.ProcessingMode_STREAMED)
			if value, _, _ := choice(append(g.request(nil, false), g.requestBody(body)...)); value == "" || scored != 2 {
				t.Errorf("went to %q, %d of 2 endpoints scored", value, scored)
			}
		})
	}
}

// What a list of models is remembered by tells apart what a pick must.
func TestEqualListsOfModelsHaveOneDigest(t *testing.T) {
	t.Parallel()
	list := Models{"a": false, "b": true}
	for rule, tc := range map[string]struct {
		other Models
		same  bool
	}{
		"the same names":          {Models{"b": true, "a": false}, true},
		"another is the adapter":  {Models{"a": true, "b": false}, false},
		"none is an adapter":      {Models{"a": false, "b": false}, false},
		"one name less":           {Models{"a": false}, false},
		"nothing, as nobody says": {Models{}, false},
	} {
		if got := list.digest() == tc.other.digest(); got != tc.same {
			t.Errorf("%s: same %v", rule, got)
		}
	}
}
