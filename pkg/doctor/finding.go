package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says how much a finding matters.
type Severity string

// The severities. Errors and warnings make the command end with exit code 18,
// notes do not.
const (
	Error   Severity = "error"   // requests fail now, or a rollout would be judged by the wrong counters
	Warning Severity = "warning" // nothing fails yet; the next rollout is refused, or ends badly
	Note    Severity = "note"    // worth knowing; nothing to mend
)

func (s Severity) rank() int { return slices.Index([]Severity{Error, Warning, Note}, s) }

// Finding is one thing that is wrong.
type Finding struct {
	Check     string   `json:"check"` // its name in docs/doctor.md
	Severity  Severity `json:"severity"`
	Namespace string   `json:"namespace,omitempty"`
	Object    string   `json:"object"` // TYPE/NAME
	Why       string   `json:"why"`
	Fix       string   `json:"fix"` // a command, or what to change
}

// Check returns what is wrong with s, the worst first.
func Check(s Snapshot) []Finding {
	c := &checkup{Snapshot: s, blamed: map[ref]bool{}}
	for _, check := range []func(){
		c.definitions,
		c.classes, c.gateways, c.envoys,
		c.backends, c.capabilities, c.weights, c.shadows, c.limits,
		c.twins, c.pools, c.pickers, c.arms,
		c.models, c.claims, c.targets, c.adapters,
		c.gates, c.rights, c.owners, c.journals, c.stamps, c.leases,
		c.statuses, c.unread,
	} {
		check()
	}
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(a.Severity.rank()-b.Severity.rank(), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Object, b.Object))
	})
	return c.findings
}

// Sick says whether any finding is more than a note.
func Sick(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity != Note })
}

// ref names an object in findings.
type ref struct{ namespace, object string }

func (r ref) at() string {
	if r.namespace == "" {
		return ""
	}
	return " -n " + r.namespace
}

func (r ref) get(more string) string {
	return strings.TrimSpace("kubectl get " + strings.Replace(r.object, "/", " ", 1) + r.at() + " " + more)
}

// checkup is one run of all checks.
type checkup struct {
	Snapshot
	findings []Finding
	blamed   map[ref]bool // objects of which something was found, notes left aside
}

func (c *checkup) found(check string, severity Severity, of ref, fix, format string, args ...any) {
	c.findings = append(c.findings, Finding{
		Check: check, Severity: severity, Namespace: of.namespace, Object: of.object, Why: fmt.Sprintf(format, args...), Fix: fix,
	})
	c.blamed[of] = c.blamed[of] || severity != Note
}

// failing says whether an error was found of an object.
func (c *checkup) failing(of ref) bool {
	return slices.ContainsFunc(c.findings, func(f Finding) bool { return f.Severity == Error && of == ref{f.Namespace, f.Object} })
}

// some joins the first few of a list.
func some(list []string) string {
	const most = 5
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}
