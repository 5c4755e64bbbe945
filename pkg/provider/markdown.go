package provider

import (
	"fmt"
	"slices"
	"strings"
)

// Markdown is docs/providers.md.
func Markdown(all []Provider) string {
	var b strings.Builder
	b.WriteString(`# Providers: what each gateway can do

Generated from ` + "`pkg/provider`" + `; ` + "`go test ./pkg/provider -update`" + ` writes it, and the same test without the
flag compares it. ` + "`--provider NAME`" + ` names one; without it the GatewayClass, the definitions that the cluster
serves and the images of its controllers decide, and the reason is said.

From the providers' sources, API types, documentation and issues as of August and September 2026. Nothing
but the sandbox was run; ` + "*proof*" + ` says what the objects made for a provider were held against.

`)
	b.WriteString("| `--provider` | weighted pools | own picker each | mirror to Service | mirror to pool | failureMode honoured | model name | proof |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, p := range all {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s | %s | %s | %s | %s |\n", p.Name, p.Name,
			p.Weighted.Answer, p.OwnPicker.Answer, p.MirrorService.Answer, p.MirrorPool.Answer, p.FailOpen.Answer, p.Routing, p.Proof)
	}
	for _, p := range all {
		b.WriteString(p.section())
	}
	return b.String()
}

// section is the page's part about one provider.
func (p Provider) section() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n| | |\n|---|---|\n", p.Name, p.Title)
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", name, text)
		}
	}
	row("needs", p.Minimum)
	row("controller", code(p.Controllers))
	row("GatewayClass", p.class())
	row("InferencePool", code(p.PoolAPIs))
	row("weighted pools in a rule", p.Weighted.String())
	row("each asks its own picker", p.OwnPicker.String())
	row("mirror to a Service", p.MirrorService.String())
	row("mirror to a pool", p.MirrorPool.String())
	row("failureMode honoured", p.FailOpen.String())
	row("model name", strings.TrimSuffix(string(p.Routing)+": "+p.RoutingNote, ": "))
	row("pickers", map[bool]string{true: "made by the gateway", false: ""}[p.PickersMade])
	row("policies", strings.Join(p.Policies, ", "))
	row("proof", string(p.Proof))
	if len(p.Defects) > 0 {
		b.WriteString("\nKnown defects:\n\n")
		for _, d := range p.Defects {
			fmt.Fprintf(&b, "- %s (%s)\n", d.What, strings.TrimSuffix(d.Versions()+"; "+d.Issue, "; "))
		}
	}
	return b.String()
}

func (p Provider) class() string {
	if p.OwnClass {
		return "made: none comes with it"
	}
	return code(p.Classes)
}

func code(list []string) string {
	quoted := slices.Clone(list)
	for i := range quoted {
		quoted[i] = "`" + quoted[i] + "`"
	}
	return strings.Join(quoted, ", ")
}
