package mirror

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	engine "github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

func TestWhatGetsTheCopies(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]struct {
		typed, name string
		port        int32
	}{
		"qwen":               {"", "qwen", 0},
		"service/qwen":       {"service", "qwen", 0},
		"Service/qwen:8000":  {"service", "qwen", 8000},
		"qwen:8000":          {"service", "qwen", 8000},
		"inferencepool/qwen": {"inferencepool", "qwen", 0},
	} {
		if typed, name, port, err := parseTo(to); err != nil || typed != want.typed || name != want.name || port != want.port {
			t.Errorf("%s: %s %s %d, %v", to, typed, name, port, err)
		}
	}
	for _, to := range []string{"", "deployment/x", "service/", "service/x:http", "x:0", "inferencepool/x:80"} {
		if _, _, _, err := parseTo(to); exit.CodeOf(err) != exit.Usage || hint.Of(err) == "" {
			t.Errorf("%q: %v", to, err)
		}
	}
}

func TestWhichGatewaysCopyRequests(t *testing.T) {
	t.Parallel()
	for rule, tt := range map[string]struct {
		controller string
		features   []string
		percent    int
		note, err  string
	}{
		"one that the table knows to":           {"gateway.envoyproxy.io/gatewayclass-controller", nil, 5, "", ""},
		"one that reports both features":        {"example.com/x", []string{featureMirror, featurePercent}, 5, "", ""},
		"one that reports others is refused":    {"gateway.envoyproxy.io/gatewayclass-controller", []string{"HTTPRoute"}, 5, "", "does not copy requests"},
		"one that copies all or none":           {"example.com/x", []string{featureMirror}, 5, "", "every request or none"},
		"which is enough for all":               {"example.com/x", []string{featureMirror}, 100, "", ""},
		"one nobody knows is tried and told of": {"example.com/x", nil, 5, "the counters will tell", ""},
	} {
		class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "c"}}
		class.Spec.ControllerName = gatewayv1.GatewayController(tt.controller)
		for _, f := range tt.features {
			class.Status.SupportedFeatures = append(class.Status.SupportedFeatures, gatewayv1.SupportedFeature{Name: gatewayv1.FeatureName(f)})
		}
		note, err := capable(class, tt.percent)
		if (err != nil) != (tt.err != "") || err != nil && (!strings.Contains(err.Error(), tt.err) || hint.Of(err) == "") || !strings.Contains(note, tt.note) || tt.note == "" && note != "" {
			t.Errorf("%s: note %q, %v", rule, note, err)
		}
	}
}

func TestTheServiceOfAShadow(t *testing.T) {
	t.Parallel()
	wanted := func() *corev1.Service {
		return scaffold.Shadow("chat", "default", map[string]string{"app": "v2"}, 8000)
	}
	stale := wanted()
	stale.Spec.Selector = map[string]string{"app": "old"}
	foreign := wanted()
	foreign.Labels = nil
	for rule, tt := range map[string]struct {
		before  *corev1.Service
		refused bool
	}{
		"is made":                               {nil, false},
		"is made once":                          {wanted(), false},
		"that an earlier mirror left gives way": {stale, false},
		"that is somebody else's is left":       {foreign, true},
	} {
		core := fake.NewClientset()
		if tt.before != nil {
			core = fake.NewClientset(tt.before)
		}
		s := services{clients: &kube.Clients{Core: core}, namespace: "default", service: wanted(), name: wanted().Name}
		if err := s.Make(t.Context()); (err != nil) != tt.refused {
			t.Errorf("%s: %v", rule, err)
		}
		found, err := core.CoreV1().Services("default").Get(t.Context(), s.name, metav1.GetOptions{})
		if err != nil || !tt.refused && found.Spec.Selector["app"] != "v2" {
			t.Errorf("%s: %v, %v", rule, found, err)
		}
		if err := s.Remove(t.Context()); err != nil {
			t.Errorf("%s: remove: %v", rule, err)
		}
		if _, err := core.CoreV1().Services("default").Get(t.Context(), s.name, metav1.GetOptions{}); (err == nil) != tt.refused {
			t.Errorf("%s: after remove: %v", rule, err)
		}
	}
}

func TestAVerdictIsAnExitCode(t *testing.T) {
	t.Parallel()
	for verdict, want := range map[gate.Verdict]struct {
		code exit.Code
		says string
	}{
		gate.Pass: {exit.OK, "NO HARM SEEN"}, gate.Fail: {exit.CheckFailed, "WORSE"},
		gate.Inconclusive: {exit.Held, "UNDECIDED"}, gate.Blind: {exit.Held, "UNDECIDED"}, "": {exit.Held, "UNDECIDED"},
	} {
		var out bytes.Buffer
		end := engine.End{Outcome: engine.Judged, Record: engine.Record{Phase: engine.Done, Verdict: verdict, Reason: "the canary is slow"}}
		err := conclude(genericiooptions.IOStreams{Out: &out}, "", end, route{})
		if exit.CodeOf(err) != want.code || !strings.Contains(out.String(), want.says) || !strings.Contains(out.String(), "the shadow is slow") {
			t.Errorf("%s: exit %d\n%s", verdict, exit.CodeOf(err), out.String())
		}
	}
	taken := engine.End{Outcome: engine.TakenOver, Why: "ended by another"}
	if err := conclude(genericiooptions.IOStreams{Out: &bytes.Buffer{}}, "json", taken, route{}); exit.CodeOf(err) != exit.LockHeld {
		t.Errorf("taken over: %v", err)
	}
}
