package translate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// rich is a world with some of everything, chosen by random.
func rich(t *testing.T, random *rand.Rand) *Objects {
	o := world()
	old := *o.Pools[1]
	old.Name = "old"
	o.OldPools = append(o.OldPools, &old)
	for i := range 1 + random.IntN(5) {
		refs := []gwv1.HTTPBackendRef{
			poolRef("a", random.Int32N(1_000_001)), poolRef([]string{"b", "gone"}[random.IntN(2)], 1), serviceRef("plain", 80),
		}
		rule := filtered(refs, mirror(poolRef("b", 1), nil, &gwv1.Fraction{Numerator: random.Int32N(100)}))
		r := o.route(fmt.Sprint("r", i), nil, rule, gwv1.HTTPRouteRule{BackendRefs: refs[:1+random.IntN(3)]})
		if random.IntN(2) == 0 {
			r.Spec.Hostnames = []gwv1.Hostname{"x.example.com", "*.example.com"}
		}
		r.CreationTimestamp = o.Routes[0].CreationTimestamp // ties are decided by name
	}
	o.Policies = []*unstructured.Unstructured{
		policyOf(t, BackendTrafficPolicy, "p", "targetRefs: [{kind: HTTPRoute, name: r0}], circuitBreaker: {maxParallelRequests: 1}"),
		policyOf(t, BackendTrafficPolicy, "q", "targetRefs: [{kind: HTTPRoute, name: r0}, {kind: Gateway, name: gw}], retry: {}"),
		policyOf(t, ClientTrafficPolicy, "c", "targetRefs: [{kind: Gateway, name: gw}], connection: {bufferLimit: 1Mi}"),
	}
	return o
}

// FuzzOrderOfObjectsAndEvents feeds the same objects in other orders, as lists
// and as a watch that is translated at every event: what comes out last is the
// same.
func FuzzOrderOfObjectsAndEvents(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, seed*7)
	}
	f.Fuzz(func(t *testing.T, world, order uint64) {
		whole := rich(t, rand.New(rand.NewPCG(world, 1)))
		want := answerTo(t, *whole)
		random := rand.New(rand.NewPCG(order, 2))
		shuffle(random, whole.Routes)
		shuffle(random, whole.Pools)
		shuffle(random, whole.Pods)
		shuffle(random, whole.Services)
		shuffle(random, whole.Policies)
		seen := Objects{Addresses: whole.Addresses}
		events := []func(){
			func() { seen.Classes = whole.Classes }, func() { seen.Gateways = whole.Gateways }, func() { seen.Routes = whole.Routes },
			func() { seen.Pools = whole.Pools }, func() { seen.OldPools = whole.OldPools }, func() { seen.Policies = whole.Policies },
			func() { seen.Services = whole.Services }, func() { seen.Pods = whole.Pods }, func() { seen.Namespaces = whole.Namespaces },
		}
		shuffle(random, events)
		for _, event := range events {
			event()
			Translate(seen)
		}
		if got := answerTo(t, seen); !bytes.Equal(got, want) {
			t.Errorf("another order gives\n%s\nwant\n%s", got, want)
		}
	})
}

// answerTo is all that Translate says, in text.
func answerTo(t *testing.T, o Objects) []byte {
	t.Helper()
	ir, statuses := Translate(o)
	policies := map[string][]PolicyAncestor{}
	for key, ancestors := range statuses.Policies {
		policies[key.Kind+" "+key.String()] = ancestors
	}
	text, err := json.MarshalIndent(map[string]any{
		"ir": ir, "gateways": byName(statuses.Gateways), "routes": byName(statuses.Routes), "pools": byName(statuses.Pools),
		"classes": statuses.Classes, "policies": policies, "missing": statuses.MissingPickers,
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func byName[T any](of map[types.NamespacedName]T) map[string]T {
	out := map[string]T{}
	for name, value := range of {
		out[name.String()] = value
	}
	return out
}

// TestGolden holds the whole answer to one rich world still. To accept a new
// one, run it with UPDATE_GOLDEN=1 and read the difference.
func TestGolden(t *testing.T) {
	t.Parallel()
	const file = "testdata/rich.json"
	got := answerTo(t, *rich(t, rand.New(rand.NewPCG(3, 1))))
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what comes out now:\n%s", file, got)
	}
}
