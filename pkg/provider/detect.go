package provider

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Class is a GatewayClass: its name and spec.controllerName.
type Class struct{ Name, Controller string }

// Facts are what a cluster shows of its gateway. A caller that knows the Gateway
// in question gives the class of that Gateway only.
type Facts struct {
	Classes []Class
	Kinds   []schema.GroupKind // that the cluster serves; only the groups matter
	Images  []string           // of the containers of Deployments, with tags
}

// Detect says which provider the facts speak for, and why. It is None when
// nothing is known, or when they speak for several.
func Detect(facts Facts) (Provider, string) {
	var found []Provider
	var reasons []string
	for _, class := range facts.Classes {
		p, why, ok := ofClass(class, facts)
		if ok && !slices.ContainsFunc(found, func(f Provider) bool { return f.Name == p.Name }) {
			found, reasons = append(found, p), append(reasons, why)
		}
	}
	if len(facts.Classes) == 0 {
		found, reasons = ofGroups(facts)
	}
	switch {
	case len(found) == 1:
		return found[0], reasons[0]
	case len(found) > 1:
		return none(), "several gateways: " + strings.Join(reasons, "; ")
	case len(facts.Classes) > 0:
		c := facts.Classes[0]
		return none(), fmt.Sprintf("gatewayclass %s has controller %s, which is of no gateway in the table", c.Name, c.Controller)
	}
	return none(), "no GatewayClass, and no definition of a gateway in the table"
}

// ofClass finds a class's provider. Where several have its controller, the
// class's name, then the groups served and the images decide.
func ofClass(class Class, facts Facts) (Provider, string, bool) {
	var candidates []Provider
	for _, p := range All() {
		if slices.Contains(p.Controllers, class.Controller) {
			candidates = append(candidates, p)
		}
	}
	why := fmt.Sprintf("gatewayclass %s has controller %s", class.Name, class.Controller)
	switch len(candidates) {
	case 0:
		return Provider{}, "", false
	case 1:
		return candidates[0], why, true
	}
	for _, p := range candidates {
		if slices.Contains(p.Classes, class.Name) && !p.OwnClass {
			return p, why + " and the name it is installed under", true
		}
	}
	for _, p := range candidates {
		if group := p.groupIn(facts.Kinds); group != "" {
			return p, why + ", and the cluster serves " + group, true
		}
	}
	if forked := slices.IndexFunc(facts.Images, isACK); forked >= 0 {
		return ack(), why + ", and the image " + facts.Images[forked] + " is ACK's", true
	}
	return envoyGateway(), why + "; the cluster does not serve " + envoyGateway().Groups[0] + ", and Envoy Gateway alone reads no InferencePool", true
}

// isACK knows the tags of ACK's builds, such as v1.4.0-apsara.4.
func isACK(image string) bool {
	return strings.Contains(image, "-apsara.") || strings.Contains(image, "-aliyun.")
}

func ofGroups(facts Facts) ([]Provider, []string) {
	var found []Provider
	var reasons []string
	for _, p := range All() {
		if group := p.groupIn(facts.Kinds); group != "" {
			found = append(found, p)
			reasons = append(reasons, fmt.Sprintf("the cluster serves %s, and no GatewayClass says more", group))
		}
	}
	return found, reasons
}

// groupIn is the first of the provider's own groups that is served.
func (p Provider) groupIn(kinds []schema.GroupKind) string {
	for _, group := range p.Groups {
		if slices.ContainsFunc(kinds, func(k schema.GroupKind) bool { return k.Group == group }) {
			return group
		}
	}
	return ""
}

// Version finds the version of the provider's controller among images such as
// istio/pilot:1.30.1; "" if none is the controller's or has a version.
func (p Provider) Version(images []string) string {
	for _, image := range images {
		name, _, _ := strings.Cut(image, "@")
		base, tag, tagged := strings.Cut(path.Base(name), ":")
		ours := slices.Contains(p.Images, base) || p.Name == "ack" && isACK(image)
		if _, err := parse(tag); tagged && ours && err == nil {
			return tag
		}
	}
	return ""
}
