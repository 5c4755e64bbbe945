package provider_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

var update = flag.Bool("update", false, "write docs/providers.md")

const page = "../../docs/providers.md"

func TestThePageIsTheTable(t *testing.T) {
	t.Parallel()
	want := provider.Markdown(provider.All())
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/providers.md is not what the table says; write it with: go test ./pkg/provider -update")
	}
}

func TestEveryRowIsFilled(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		for what, text := range map[string]string{
			"title": p.Title, "minimum": p.Minimum, "routing": string(p.Routing), "proof": string(p.Proof),
			"weighted": string(p.Weighted.Answer), "own picker": string(p.OwnPicker.Answer), "mirror to Service": string(p.MirrorService.Answer),
			"mirror to pool": string(p.MirrorPool.Answer), "fail-open": string(p.FailOpen.Answer),
		} {
			if text == "" {
				t.Errorf("%s: no %s", p.Name, what)
			}
		}
		if p.Weighted.Answer == provider.Partly && p.Weighted.Note == "" {
			t.Errorf("%s: partly without saying which part", p.Name)
		}
		if p.Name != "none" && len(p.Controllers) == 0 {
			t.Errorf("%s: no controller", p.Name)
		}
		for _, d := range p.Defects {
			if d.What == "" || (d.Issue != "" && !strings.Contains(d.Issue, "#")) {
				t.Errorf("%s: defect %+v", p.Name, d)
			}
		}
	}
}

func TestEveryProviderIsFoundByItsName(t *testing.T) {
	t.Parallel()
	for _, name := range provider.Names() {
		if p, err := provider.Named(name); err != nil || p.Name != name {
			t.Errorf("%s: %v, %v", name, p.Name, err)
		}
	}
	_, err := provider.Named("isto")
	if err == nil || !strings.Contains(err.Error(), "istio") || hint.Of(err) == "" {
		t.Errorf("the error of a name that is none does not list the names, with a hint: %v", err)
	}
}

func TestHelpMarksWhatIsNotProven(t *testing.T) {
	t.Parallel()
	for _, line := range strings.Split(strings.TrimSpace(provider.Help()), "\n") {
		p, err := provider.Named(strings.Fields(line)[0])
		if err != nil {
			t.Fatal(err)
		}
		if marked := strings.Contains(line, "not proven"); marked == p.Proven() {
			t.Errorf("%s: marked %t, proven %t", p.Name, marked, p.Proven())
		}
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	const eg = provider.ControllerEnvoyGateway
	class := func(name, controller string) []provider.Class {
		return []provider.Class{{Name: name, Controller: controller}}
	}
	serves := func(groups ...string) (kinds []schema.GroupKind) {
		for _, g := range groups {
			kinds = append(kinds, schema.GroupKind{Group: g, Kind: "Any"})
		}
		return kinds
	}
	tests := map[string]struct {
		facts     provider.Facts
		want, why string
	}{
		"a controller of one provider is enough":            {provider.Facts{Classes: class("x", "istio.io/gateway-controller")}, "istio", "gatewayclass x"},
		"the class decides, not what else is installed":     {provider.Facts{Classes: class("x", "istio.io/gateway-controller"), Kinds: serves("agentgateway.dev")}, "istio", ""},
		"Envoy Gateway's controller is Envoy Gateway's":     {provider.Facts{Classes: class("eg", eg)}, "envoy-gateway", "alone reads no InferencePool"},
		"with AI Gateway's definitions too":                 {provider.Facts{Classes: class("eg", eg), Kinds: serves("aigateway.envoyproxy.io")}, "envoy-gateway", "aigateway.envoyproxy.io"},
		"the same controller with ACK's class is ACK":       {provider.Facts{Classes: class("ack-gateway", eg)}, "ack", "installed under"},
		"the same controller with ACK's definitions is ACK": {provider.Facts{Classes: class("mine", eg), Kinds: serves("inferenceextension.alibabacloud.com")}, "ack", "alibabacloud"},
		"the same controller with a build of ACK's is ACK":  {provider.Facts{Classes: class("mine", eg), Images: []string{"registry/gateway:v1.4.0-apsara.4"}}, "ack", "apsara"},
		"the sandbox": {provider.Facts{Classes: class("kubectl-infer-sandbox", "kubectl-infer.github.io/sandbox-gateway")}, "sandbox", ""},
		"an unknown controller is none, and is named":              {provider.Facts{Classes: class("x", "example.com/c"), Kinds: serves("networking.istio.io")}, "none", "example.com/c"},
		"two classes of one provider agree":                        {provider.Facts{Classes: append(class("a", "istio.io/gateway-controller"), class("b", "istio.io/gateway-controller")...)}, "istio", ""},
		"two classes of two providers are none, and both are said": {provider.Facts{Classes: append(class("a", "istio.io/gateway-controller"), class("b", "agentgateway.dev/agentgateway")...)}, "none", "several gateways"},
		"without a class the definitions decide":                   {provider.Facts{Kinds: serves("gateway.nginx.org", "apps")}, "ngf", "gateway.nginx.org"},
		"without anything it is none":                              {provider.Facts{}, "none", "no GatewayClass"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, why := provider.Detect(tt.facts)
			if p.Name != tt.want || why == "" || !strings.Contains(why, tt.why) {
				t.Errorf("got %s (%s), want %s because of %q", p.Name, why, tt.want, tt.why)
			}
		})
	}
}

func TestEveryControllerIsDetected(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		for _, c := range p.Controllers {
			if got, why := provider.Detect(provider.Facts{Classes: []provider.Class{{Name: p.Classes[0], Controller: c}}}); got.Name != p.Name {
				t.Errorf("%s of %s is taken for %s (%s)", c, p.Name, got.Name, why)
			}
		}
	}
}

func TestDefectsOfAVersion(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		provider, version, issue string
		want                     bool
	}{
		"before the fix":                                {"istio", "1.30.1", "istio/istio#61594", true},
		"a variant of a release is the release":         {"istio", "1.30.1-distroless", "istio/istio#61594", true},
		"from the fix on":                               {"istio", "1.32.0", "istio/istio#61594", false},
		"a leading v":                                   {"agentgateway", "v1.3.1", "agentgateway/agentgateway#2623", true},
		"before the first version":                      {"agentgateway", "1.2.1", "agentgateway/agentgateway#2623", false},
		"after the last version known to have it":       {"agentgateway", "1.4.0", "agentgateway/agentgateway#2623", false},
		"no fix is known":                               {"envoy-gateway", "9.9.9", "envoyproxy/ai-gateway#2502", true},
		"an unknown version may have any":               {"istio", "latest", "istio/istio#61594", true},
		"a prerelease with a number is before the next": {"ack", "v1.4.0-apsara.3", "", true},
		"and the next is without it":                    {"ack", "v1.4.0-apsara.4", "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := provider.Named(tt.provider)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, d := range p.DefectsOf(tt.version) {
				found = found || d.Issue == tt.issue
			}
			if found != tt.want {
				t.Errorf("%s %s has %q: %t, want %t", tt.provider, tt.version, tt.issue, found, tt.want)
			}
		})
	}
}

func TestVersionIsOfTheController(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		provider string
		images   []string
		want     string
	}{
		"the controller's among others":   {"istio", []string{"redis:7.0.0", "istio/pilot:1.30.1"}, "1.30.1"},
		"a registry with a port":          {"istio", []string{"registry:5000/istio/pilot:1.30.1@sha256:abc"}, "1.30.1"},
		"a tag that is no version":        {"istio", []string{"istio/pilot:latest"}, ""},
		"no tag":                          {"istio", []string{"istio/pilot@sha256:abc"}, ""},
		"a build of ACK, by its tag only": {"ack", []string{"acs/whatever:v1.4.0-apsara.4"}, "v1.4.0-apsara.4"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := provider.Named(tt.provider)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Version(tt.images); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
