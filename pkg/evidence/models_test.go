package evidence

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

func claim(t *testing.T, text string) unstructured.Unstructured {
	t.Helper()
	var u unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	u.SetUID(types.UID(text))
	return u
}

const (
	alphaKind = "apiVersion: inference.networking.x-k8s.io/v1alpha2\nkind: "
	llmdKind  = "apiVersion: llm-d.ai/v1alpha2\nkind: "
	lora      = alphaKind + "InferenceModel\nmetadata: {name: lora}\nspec: {modelName: travel, poolRef: {name: p}}"
)

func rewriteOf(kind, name, pool, match string) string {
	return kind + "InferenceModelRewrite\nmetadata: {name: " + name + "}\nspec: {poolRef: {name: " + pool + "}, rules: [{" + match + "targets: [{modelRewrite: a}]}]}"
}

func TestOneModelHasOneObjectThatSpeaksForIt(t *testing.T) {
	t.Parallel()
	const travel = "matches: [{model: {value: travel}}], "
	for rule, tc := range map[string]struct {
		kin, others []string
		want        string
	}{
		"alone":                                       {[]string{lora}, nil, ""},
		"another of its kind":                         {[]string{lora, strings.Replace(lora, "lora", "older", 1)}, nil, "InferenceModel lora and InferenceModel older both say which targets serve model travel"},
		"another of its kind, of another model":       {[]string{lora, strings.ReplaceAll(strings.Replace(lora, "lora", "b", 1), "travel", "ski")}, nil, ""},
		"another of its kind, of another pool":        {[]string{lora, strings.Replace(strings.Replace(lora, "lora", "b", 1), "name: p}", "name: q}", 1)}, nil, ""},
		"a rewrite, whose pool is in the newer group": {[]string{lora}, []string{rewriteOf(alphaKind, "lora", "p", travel)}, "InferenceModel lora and InferenceModelRewrite lora both"},
		"a rewrite of llm-d's group":                  {[]string{lora}, []string{rewriteOf(llmdKind, "r", "p", travel)}, "InferenceModel lora and InferenceModelRewrite.llm-d.ai r both"},
		"a rewrite of another pool":                   {[]string{lora}, []string{rewriteOf(llmdKind, "r", "q", travel)}, ""},
		"a rewrite of every model: exact beats it":    {[]string{lora}, []string{rewriteOf(llmdKind, "r", "p", "")}, ""},
		"it is gone":                                  {nil, nil, "deleted meanwhile"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			var kin, others []unstructured.Unstructured
			for _, text := range tc.kin {
				kin = append(kin, claim(t, text))
			}
			for _, text := range tc.others {
				others = append(others, claim(t, text))
			}
			_, err := SoleOwner(kin, "lora", others...)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestAPickerThatIgnoresTheObjectIsRefused(t *testing.T) {
	t.Parallel()
	model, rewrite, llmd := kube.InferenceModels().GroupResource(), kube.ModelRewrites().GroupResource(), kube.LLMDModelRewrites().GroupResource()
	const ours = "infer_picker_ready_endpoints 2\ninfer_picker_target_unloaded{target_model=\"a\"} 0\n"
	for rule, tc := range map[string]struct {
		page string
		kind schema.GroupResource
		llmd bool // served
		want string
	}{
		"ours has a rule for stable":                       {ours, model, false, ""},
		"ours has a rule for the canary: stable is at 0 %": {strings.Replace(ours, `"a"`, `"b"`, 1), rewrite, true, ""},
		"ours has no such rule":                            {strings.Replace(ours, `"a"`, `"other"`, 1), model, false, "has no rule with target a"},
		"v0.5 follows InferenceModels":                     {"inference_model_running_requests 0\n", model, false, ""},
		"and no rewrites":                                  {"inference_model_running_requests 0\n", rewrite, false, "does not follow inferencemodelrewrites"},
		"v1.x follows rewrites":                            {"inference_objective_running_requests 0\n", rewrite, true, ""},
		"and no InferenceModels":                           {"inference_objective_running_requests 0\n", model, false, "does not follow inferencemodels"},
		"llm-d follows its own group":                      {"llm_d_epp_request_running 0\n", llmd, true, ""},
		"and the older group where its own is not served":  {"llm_d_epp_request_running 0\n", rewrite, false, ""},
		"but not beside its own":                           {"llm_d_epp_request_running 0\n", rewrite, true, "since this cluster serves them"},
		"and never InferenceModels":                        {"llm_d_epp_request_running 0\n", model, false, "does not follow inferencemodels"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			page := parsed(t, tc.page)
			p, err := detect([]*scrape.Page{page}, presets())
			if err != nil {
				t.Fatal(err)
			}
			a := New(&kube.Clients{}, Pool{Model: "a"}, Pool{Model: "b"}, Options{Via: Direct})
			t.Cleanup(a.Close)
			a.preset, a.stable().pages, a.canary().pages = p, []*scrape.Page{page}, []*scrape.Page{page}
			err = a.Heeds(t.Context(), tc.kind, tc.llmd)
			if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || hint.Of(err) == "") {
				t.Errorf("got %v, hint %q; want %q", err, hint.Of(err), tc.want)
			}
		})
	}
}

func TestTargetModelsAreNotToldApartByAGateway(t *testing.T) {
	t.Parallel()
	err := envoy().separable([]Pool{{Name: "p", Model: "a"}, {Name: "p", Model: "b"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "a and b look alike") {
		t.Errorf("got %v", err)
	}
}

func TestBreakerOverflowsAreErrorsAndCountApart(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"picker": "infer_picker_requests_started_total 9\ninfer_picker_requests_finished_total{code=\"200\"} 5\ninfer_picker_requests_finished_total{code=\"503\"} 4\ninfer_picker_breaker_overflows_total 3\n",
		"envoy":  "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\"} 9\nenvoy_cluster_upstream_rq_xx{envoy_cluster_name=\"c\",envoy_response_code_class=\"2\"} 5\nenvoy_cluster_upstream_rq_xx{envoy_cluster_name=\"c\",envoy_response_code_class=\"5\"} 4\nenvoy_cluster_upstream_rq_pending_overflow{envoy_cluster_name=\"c\"} 3\n",
	}
	for key, text := range pages {
		p := choose(key)[0]
		grown, err := p.reading(parsed(t, text), p.of(Pool{Backend: "c"}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if w := split(grown, nil); w.errors != 4 || w.overflows != 3 || w.finished != 9 {
			t.Errorf("%s: %+v", key, w)
		}
	}
}

func TestALoadedAdapterIsWaitedForUntilPickersKnowIt(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	core := servedBy(t, "picks", "p", func(w http.ResponseWriter, _ *http.Request) {
		n := min(looks.Add(1), 3) // 2 pods have it from the third look on
		fmt.Fprintf(w, "infer_picker_ready_endpoints 2\ninfer_picker_model_endpoints{model=\"b\"} %d\n", n-1)
	})
	pool := Pool{Namespace: "default", Name: "p", Pickers: labels.SelectorFromSet(labels.Set{"picks": "p"})}
	stable, canary := pool, pool
	stable.Model, canary.Model = "a", "b"
	arms := New(&kube.Clients{Core: core, Namespace: "default"}, stable, canary, Options{Via: Direct})
	t.Cleanup(arms.Close)
	if err := arms.Bind(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := arms.Noticed(t.Context(), 2); err != nil || looks.Load() < 3 {
		t.Errorf("after %d looks: %v", looks.Load(), err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := arms.Noticed(ended, 3); err == nil || !strings.Contains(err.Error(), "3 pods answer to b") {
		t.Errorf("a third pod: %v", err)
	}
}
