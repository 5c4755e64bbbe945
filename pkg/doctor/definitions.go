package doctor

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

const (
	routesCRD = "httproutes.gateway.networking.k8s.io"
	// leastBundle is the first Gateway API release with everything that is
	// written here, such as a mirror's percent.
	leastBundle = "v1.2.0"
	installGW   = "install a release of the Gateway API, v1.2 or newer: https://gateway-api.sigs.k8s.io/guides/"
	installGIE  = "install the definitions of the inference extension: https://gateway-api-inference-extension.sigs.k8s.io/guides/"
)

func (c *checkup) definition(name string) (Definition, bool) {
	i := slices.IndexFunc(c.Definitions, func(d Definition) bool { return d.Name == name })
	if i < 0 {
		return Definition{}, false
	}
	return c.Definitions[i], true
}

// definitions: the kinds are there, in versions that are known.
func (c *checkup) definitions() {
	if slices.ContainsFunc(c.Unread, func(u Unread) bool { return u.Resource == "customresourcedefinitions" }) {
		return
	}
	for _, d := range c.Definitions {
		at := ref{"", "crd/" + d.Name}
		switch {
		case d.Problem != "":
			c.found("definition-broken", Error, at, at.get("-o yaml"), "it is not established, so its objects are not served: %s", d.Problem)
		case !slices.Contains(d.Versions, d.Wanted):
			c.found("definition-version", Error, at, map[bool]string{true: installGW, false: installGIE}[strings.HasSuffix(d.Name, "gateway.networking.k8s.io")],
				"the cluster serves %s of it, %s is needed", strings.Join(d.Versions, ", "), d.Wanted)
		case d.Name == routesCRD && older(d.Bundle, leastBundle):
			c.found("definition-old", Warning, at, installGW, "it is of release %s; before %s, fields that rollouts and mirrors use are dropped without a word", d.Bundle, leastBundle)
		}
	}
	if _, ok := c.definition(routesCRD); !ok {
		c.found("definition-missing", Error, ref{"", "crd/" + routesCRD}, installGW, "the Gateway API is not installed: there is nothing to move traffic with")
	}
	pools := "inferencepools." + groupV1
	_, ok := c.definition(pools)
	if _, alpha := c.definition("inferencepools." + groupAlpha); !ok && !alpha {
		c.found("definition-missing", Error, ref{"", "crd/" + pools}, installGIE, "InferencePools are not installed, of either group")
	}
}

// older says whether version is known and before least.
func older(installed, least string) bool {
	v, err := version.ParseSemantic(installed)
	return err == nil && v.LessThan(version.MustParseSemantic(least))
}
