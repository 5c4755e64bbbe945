package doctor

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

func gatewayRef(g gatewayv1.Gateway) ref { return ref{g.Namespace, "gateway/" + g.Name} }

func (c *checkup) class(g gatewayv1.Gateway) (gatewayv1.GatewayClass, bool) {
	i := slices.IndexFunc(c.Classes, func(k gatewayv1.GatewayClass) bool { return k.Name == string(g.Spec.GatewayClassName) })
	if i < 0 {
		return gatewayv1.GatewayClass{}, false
	}
	return c.Classes[i], true
}

// classes: each Gateway has a class that some controller took.
func (c *checkup) classes() {
	if slices.ContainsFunc(c.Unread, func(u Unread) bool { return u.Resource == "gatewayclasses" }) {
		return
	}
	for _, g := range c.Gateways {
		class, ok := c.class(g)
		at := gatewayRef(g)
		if !ok {
			c.found("gateway-class", Error, at, "kubectl get gatewayclasses", "its class %s is not there: nobody serves it", g.Spec.GatewayClassName)
			continue
		}
		if why := refused(class.Status.Conditions, "Accepted", true); why != "" {
			c.found("gateway-class", Error, at, "kubectl describe gatewayclass "+class.Name,
				"its class %s is not taken by controller %s: %s", class.Name, class.Spec.ControllerName, why)
		}
	}
}

// gateways: each one is accepted and programmed, by a provider without known
// defects of its version.
func (c *checkup) gateways() {
	for _, g := range c.Gateways {
		at := gatewayRef(g)
		if c.blamed[at] {
			continue
		}
		for _, kind := range []string{"Accepted", "Programmed"} {
			if why := refused(g.Status.Conditions, kind, true); why != "" {
				c.found("gateway-status", Error, at, "kubectl describe gateway "+g.Name+at.at(), "it is not %s: %s", strings.ToLower(kind), why)
				break
			}
		}
		p, ok := c.provider(g)
		installed := p.Version(c.Images)
		if !ok || installed == "" {
			continue
		}
		var has []string
		fixed := ""
		for _, d := range p.DefectsOf(installed) {
			if d.Fixed == "" && d.Last == "" {
				continue // of the provider, not of the version: docs/providers.md
			}
			has = append(has, strings.TrimSpace(d.What+" "+d.Issue))
			fixed = cmpVersion(fixed, d.Fixed)
		}
		if len(has) > 0 {
			c.found("gateway-version", Warning, at, upgrade(p.Title, fixed), "%s %s has known defects: %s", p.Title, installed, strings.Join(has, "; "))
		}
	}
}

// cmpVersion is the newer of two versions, one of which may be empty.
func cmpVersion(a, b string) string {
	if a == "" || b != "" && older(strings.TrimPrefix(a, "v"), strings.TrimPrefix(b, "v")) {
		return b
	}
	return a
}

func upgrade(title, fixed string) string {
	if fixed == "" {
		return "take a newer release of " + title + "; docs/providers.md says which had them last"
	}
	return "take " + title + " " + fixed + " or newer"
}

// provider is whose a Gateway is; not ok when that is not known.
func (c *checkup) provider(g gatewayv1.Gateway) (provider.Provider, bool) {
	class, ok := c.class(g)
	if !ok {
		return provider.Provider{}, false
	}
	facts := provider.Facts{Classes: []provider.Class{{Name: class.Name, Controller: string(class.Spec.ControllerName)}}, Images: c.Images}
	for _, group := range c.Groups {
		facts.Kinds = append(facts.Kinds, schema.GroupKind{Group: group})
	}
	p, _ := provider.Detect(facts)
	return p, p.Name != "none"
}

// refused says why a condition is not True: its reason and message. A condition
// that is absent counts when it must be there, one not decided yet does not.
func refused(conditions []metav1.Condition, kind string, must bool) string {
	i := slices.IndexFunc(conditions, func(k metav1.Condition) bool { return k.Type == kind })
	switch {
	case i < 0 && must:
		return "no controller has reported on it"
	case i < 0 || conditions[i].Status == metav1.ConditionTrue:
		return ""
	}
	return strings.TrimSuffix(conditions[i].Reason+": "+conditions[i].Message, ": ")
}

// proxyDefect is a defect of Envoy's ext_proc filter. Sources: the advisories and
// issues named, and Envoy's release notes.
type proxyDefect struct {
	line  string // 1.33 for one release line; "" for all before fixed
	fixed string
	what  string
}

func proxyDefects() []proxyDefect {
	const crash = "Envoy sends its own answers to ext_proc and may crash (CVE-2025-30157)"
	return []proxyDefect{
		{"", "1.30.10", crash},
		{"1.31", "1.31.6", crash},
		{"1.32", "1.32.4", crash},
		{"1.33", "1.33.1", crash},
		{"1.35", "1.35.1", "a picker that may fail open is refused in full duplex (envoyproxy/envoy#39740)"},
		{"", "1.37.0", "two ext_proc filters in full duplex, a body router and a picker, lose or hang bodies (envoyproxy/envoy#41654)"},
	}
}

// envoys: no proxy of a version with known ext_proc defects.
func (c *checkup) envoys() {
	for _, pod := range c.Proxies {
		installed := envoyVersion(pod)
		if installed == nil {
			continue
		}
		var has []string
		for _, d := range proxyDefects() {
			line := fmt.Sprintf("%d.%d", installed.Major(), installed.Minor())
			if (d.line == "" || d.line == line) && installed.LessThan(version.MustParseSemantic(d.fixed)) {
				has = append(has, d.what)
			}
		}
		if len(has) > 0 {
			c.found("envoy-version", Warning, ref{pod.Namespace, "pod/" + pod.Name}, "take a gateway release with Envoy 1.37 or newer", "it runs Envoy %s: %s", installed, strings.Join(has, "; "))
		}
	}
}

// envoyVersion reads images such as envoyproxy/envoy:distroless-v1.33.0.
func envoyVersion(pod corev1.Pod) *version.Version {
	for _, container := range pod.Spec.Containers {
		image, _, _ := strings.Cut(container.Image, "@")
		name, tag, _ := strings.Cut(path.Base(image), ":")
		if name != "envoy" && name != "envoy-distroless" {
			continue
		}
		tag = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(tag, "distroless-"), "contrib-"), "v"), "-latest")
		if v, err := version.ParseGeneric(tag); err == nil {
			return v
		}
	}
	return nil
}
