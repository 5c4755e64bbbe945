package scaffold

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter/adapters"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestParseModel(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want, problem string }{
		"a base model and its pool":         {"qwen=pool", "qwen pool []", ""},
		"adapters follow the pool":          {"qwen=pool,a,b", "qwen pool [a b]", ""},
		"a name may have slashes":           {"Qwen/Qwen2.5=pool", "Qwen/Qwen2.5 pool []", ""},
		"no pool":                           {"qwen", "", "is not NAME=POOL"},
		"an empty pool":                     {"qwen=", "", "is not NAME=POOL"},
		"an empty name":                     {"=pool", "", "is not NAME=POOL"},
		"an empty adapter":                  {"qwen=pool,", "", `name ""`},
		"what the body router refuses":      {"a b=pool", "", "visible ASCII"},
		"longer than the body router takes": {strings.Repeat("a", 254) + "=pool", "", "1 to 253"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := ParseModel(tt.text)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) || hint.Of(err) == "" {
					t.Errorf("error %v with hint %q, want %q", err, hint.Of(err), tt.problem)
				}
			} else if got := fmt.Sprint(m.Name, " ", m.Pool, " ", m.Adapters); err != nil || got != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestOneNameHasOnePool(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ models, problem string }{
		"different names":                     {"a=p,x b=q,y", ""},
		"one model for two pools":             {"a=p a=q", "pools p and q"},
		"one adapter for two pools":           {"a=p,x b=q,x", `"x" is given for pools p and q`},
		"an adapter called as another's base": {"a=p,b b=q", `"b"`},
		"an adapter called as its base":       {"a=p,a", "twice for pool p"},
		"letters of other case are different": {"a=p A=q", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Routes(RouteOptions{About: About{Name: "chat"}, Models: models(t, tt.models)})
			if got := fmt.Sprint(err); (err != nil) != (tt.problem != "") || !strings.Contains(got, tt.problem) {
				t.Errorf("got %v, want %q", err, tt.problem)
			}
		})
	}
}

func models(t *testing.T, texts string) []Model {
	t.Helper()
	var list []Model
	for _, text := range strings.Fields(texts) {
		m, err := ParseModel(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

// sized is one model with as many names.
func sized(model, names int) Model {
	m := Model{Name: fmt.Sprintf("m%d", model), Pool: fmt.Sprintf("p%d", model)}
	for i := range names - 1 {
		m.Adapters = append(m.Adapters, fmt.Sprintf("m%d-a%d", model, i))
	}
	return m
}

func TestRulesAreSplitAtTheLimits(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		names []int  // of each model
		want  string // matches of each rule, routes apart
	}{
		"a model has a rule":                            {[]int{1, 3}, "1 3"},
		"64 names are one rule":                         {[]int{64}, "64"},
		"65 names are two":                              {[]int{65}, "64 1"},
		"128 names fill a route":                        {[]int{128}, "64 64"},
		"129 names need two routes":                     {[]int{129}, "64 64 | 1"},
		"16 rules fill a route":                         {slicesOf(16, 1), "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"},
		"17 rules need two routes":                      {slicesOf(17, 1), "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 | 1"},
		"a small rule fills what a large one left":      {[]int{64, 60, 10, 4}, "64 60 4 | 10"},
		"the names of a route are NAME, NAME-2, NAME-3": {[]int{128, 128, 1}, "64 64 | 64 64 | 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var list []Model
			for i, n := range tt.names {
				list = append(list, sized(i, n))
			}
			routes, err := Routes(RouteOptions{About: About{Name: "chat"}, Models: list})
			if err != nil {
				t.Fatal(err)
			}
			var shapes []string
			for i, r := range routes {
				var sizes []string
				for _, rule := range r.Spec.Rules {
					sizes = append(sizes, fmt.Sprint(len(rule.Matches)))
				}
				shapes = append(shapes, strings.Join(sizes, " "))
				if r.Name != RouteName("chat", i+1) {
					t.Errorf("route %d is called %s", i, r.Name)
				}
			}
			if got := strings.Join(shapes, " | "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func slicesOf(n, value int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = value
	}
	return list
}

// TestAnyModelsFitTheLimitsAndAreRoutedOnce draws random lists: every name is
// matched exactly once, to its own pool, no limit is broken, rule names are
// unique, and a model that is added last moves no other.
func TestAnyModelsFitTheLimitsAndAreRoutedOnce(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(9, 16))
	for range 300 {
		var list []Model
		for i := range 1 + random.IntN(40) {
			list = append(list, sized(i, 1+random.IntN([]int{3, 70, 200}[random.IntN(3)])))
		}
		routes, err := Routes(RouteOptions{About: About{Name: "chat"}, Models: list})
		if err != nil {
			t.Fatal(err)
		}
		checkRoutes(t, list, routes)
		fewer, _ := Routes(RouteOptions{About: About{Name: "chat"}, Models: list[:len(list)-1]})
		all := placed(routes)
		for name, where := range placed(fewer) {
			if all[name] != where {
				t.Fatalf("%s was moved from %s to %s by a model added last", name, where, all[name])
			}
		}
	}
}

func checkRoutes(t *testing.T, list []Model, routes []*gwv1.HTTPRoute) {
	t.Helper()
	pools := map[string]string{}
	for _, m := range list {
		for _, name := range m.names() {
			pools[name] = m.Pool
		}
	}
	for _, r := range routes {
		total, names := 0, map[gwv1.SectionName]bool{}
		for _, rule := range r.Spec.Rules {
			total += len(rule.Matches)
			if names[*rule.Name] || len(rule.Matches) > 64 || len(rule.Matches) == 0 {
				t.Fatalf("%s: rule %s has %d matches, or its name twice", r.Name, *rule.Name, len(rule.Matches))
			}
			names[*rule.Name] = true
			for _, m := range rule.Matches {
				name := m.Headers[0].Value
				if pools[name] != string(rule.BackendRefs[0].Name) {
					t.Fatalf("%s goes to %s, or is matched twice; want %q", name, rule.BackendRefs[0].Name, pools[name])
				}
				delete(pools, name)
			}
		}
		if total > 128 || len(r.Spec.Rules) > 16 {
			t.Fatalf("%s has %d matches in %d rules", r.Name, total, len(r.Spec.Rules))
		}
	}
	if len(pools) > 0 {
		t.Fatalf("not matched: %v", pools)
	}
}

// placed is where each name is matched: route and rule.
func placed(routes []*gwv1.HTTPRoute) map[string]string {
	at := map[string]string{}
	for _, r := range routes {
		for _, rule := range r.Spec.Rules {
			for _, m := range rule.Matches {
				at[m.Headers[0].Value] = r.Name + "/" + string(*rule.Name)
			}
		}
	}
	return at
}

func TestNamesOfRulesAndDurations(t *testing.T) {
	t.Parallel()
	used := labelSet{}
	for _, tt := range []struct{ rule, model, want string }{
		{"a plain name stays", "qwen", "qwen"},
		{"other characters become dashes", "Qwen/Qwen2.5-7B", "qwen-qwen2-5-7b"},
		{"the same label gets a number", "qwen/qwen2.5:7b", "qwen-qwen2-5-7b-2"},
		{"nothing left is a model", "///", "model"},
		{"at most 63 bytes", strings.Repeat("a", 70), strings.Repeat("a", 63)},
		{"with its number, too", strings.Repeat("a", 80), strings.Repeat("a", 61) + "-2"},
	} {
		if got := used.take(tt.model); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.rule, got, tt.want)
		}
	}
	for d, want := range map[time.Duration]string{
		300 * time.Second: "5m", 24 * time.Hour: "24h", 1500 * time.Millisecond: "1s500ms", 90061 * time.Second: "25h1m1s",
	} {
		if got := duration(d); got != want || CheckDuration("--timeout", d) != nil {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
	for _, d := range []time.Duration{-time.Second, time.Microsecond, 100_000 * time.Hour} {
		if hint.Of(CheckDuration("--timeout", d)) == "" {
			t.Errorf("%s is not refused with a hint", d)
		}
	}
}

// TestTheBodyRouterReadsWhatIsMade goes through the body router's own reader,
// with names that YAML takes for something else.
func TestTheBodyRouterReadsWhatIsMade(t *testing.T) {
	t.Parallel()
	list := models(t, "base=pool,y,1.10,null,*x,a:b,'q bare=other A.b=p,c a-b=q,d")
	made, err := AdapterMaps(About{Name: "chat", Namespace: "default", Verb: "create-route"}, list)
	if err != nil {
		t.Fatal(err)
	}
	var sources []adapters.Source
	byName := map[string]*corev1.ConfigMap{}
	for _, cm := range made {
		byName[cm.Name] = cm
		sources = append(sources, adapters.Source{Namespace: cm.Namespace, Name: cm.Name, Data: cm.Data})
		for _, label := range adapters.Labels() {
			if cm.Labels[label] != "true" {
				t.Errorf("%s has no label %s", cm.Name, label)
			}
		}
	}
	if len(byName) != 3 {
		t.Errorf("made %d ConfigMaps of different names, want one for each model with adapters: %v", len(byName), byName)
	}
	read := adapters.Build(sources)
	for _, m := range list {
		for _, name := range m.Adapters {
			if base, _ := read.BaseModel(name); base != m.Name {
				t.Errorf("%s: base model %q, want %s", name, base, m.Name)
			}
		}
	}
	if len(read.Invalid)+len(read.Conflicts) > 0 {
		t.Errorf("invalid %v, conflicts %v", read.Invalid, read.Conflicts)
	}
}
