package doctor

import (
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

const (
	// deadPeriods is how many lease periods without a renewal say that the holder
	// is gone. Only for people: a rollout itself never compares two clocks.
	deadPeriods = 4
	// forgotten is after how long a rollout that nobody works on is reported.
	forgotten = 24 * time.Hour
)

// rights: the user may do what a rollout of each target takes.
func (c *checkup) rights() {
	var order []ref
	denied := map[ref][]string{}
	for _, r := range c.Rights {
		at := ref{r.Namespace, r.Object}
		if r.Allowed {
			continue
		}
		if denied[at] == nil {
			order = append(order, at)
		}
		denied[at] = append(denied[at], r.What)
	}
	for _, at := range order {
		c.found("rights", Warning, at, "somebody who may: kubectl infer install rbac --for "+at.object+at.at()+" --user-name YOU",
			"you may not %s, which its rollout needs", strings.Join(denied[at], ", nor "))
	}
}

// owners: nobody puts the old weights back.
func (c *checkup) owners() {
	for _, r := range c.Routes {
		several := slices.ContainsFunc(r.shares(), func(s ruleShares) bool { return len(s.pools) > 1 })
		switch {
		case r.Owner.Tool == "" || !several:
		case len(r.Owner.Others) > 0:
			c.found("owner-conflict", Warning, r.ref(), r.Owner.Suspend,
				"%s renders it (%s), and %s wrote its rules since: the next sync reverts that", r.Owner.Tool, r.Owner.Sign, strings.Join(r.Owner.Others, ", "))
		default:
			c.found("owner", Note, r.ref(), r.Owner.Suspend, "%s renders it (%s) and would revert a rollout's weights", r.Owner.Tool, r.Owner.Sign)
		}
	}
}

// journals: no rollout was left unfinished, and each has its target.
func (c *checkup) journals() {
	for _, j := range c.Journals {
		at := ref{j.Namespace, "configmap/" + j.Name}
		record := j.Record
		verb := func(name string) string { return "kubectl infer canary " + name + " " + record.Plan.Target + at.at() }
		lease := c.lease(j.Namespace, j.Name)
		switch {
		case j.Problem != "":
			c.found("journal-unreadable", Warning, at, "use the kubectl-infer version that wrote it, or a newer one", "the journal of a rollout cannot be read: %s", j.Problem)
		case !c.has(j.Namespace, record.Plan.Target):
			c.found("journal-orphan", Warning, at, "kubectl delete configmap "+j.Name+at.at(), "its target %s is not there any more", record.Plan.Target)
		case record.Phase.Finished():
		case lease != nil && c.held(*lease) && c.dead(*lease):
			c.found("journal-stale", Warning, at, verb("abort")+"   # or repeat its run command to go on",
				"the rollout of %s is %s at %s and its process, %s, is gone", record.Plan.Target, strings.ToLower(string(record.Phase)), record.Goal, *lease.Spec.HolderIdentity)
		case (lease == nil || !c.held(*lease)) && c.Now.Sub(record.Updated) > forgotten:
			c.found("journal-stale", Warning, at, verb("status")+"   # then run, promote or abort",
				"the rollout of %s is %s at %s, and nobody worked on it for %s", record.Plan.Target, strings.ToLower(string(record.Phase)), record.Goal, c.Now.Sub(record.Updated).Round(time.Hour))
		}
	}
}

func (c *checkup) lease(namespace, name string) *coordinationv1.Lease {
	i := slices.IndexFunc(c.Leases, func(l coordinationv1.Lease) bool { return l.Namespace == namespace && l.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Leases[i]
}

func (c *checkup) held(l coordinationv1.Lease) bool {
	return l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != ""
}

func (c *checkup) dead(l coordinationv1.Lease) bool {
	period := 15 * time.Second
	if l.Spec.LeaseDurationSeconds != nil {
		period = time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
	}
	return l.Spec.RenewTime != nil && c.Now.Sub(l.Spec.RenewTime.Time) > deadPeriods*period
}

// has says whether a rollout's target is there, or may be.
func (c *checkup) has(namespace, target string) bool {
	kind, name, _ := strings.Cut(target, "/")
	if kind == "httproute" {
		return !c.reads("httproutes", namespace) || slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Namespace == namespace && r.Name == name })
	}
	return !c.reads("inferencemodels", namespace) || !c.reads("inferencemodelrewrites", namespace) ||
		slices.ContainsFunc(c.Models, func(m Models) bool { return m.Namespace == namespace && m.Type == kind && m.Name == name })
}

// stamps: a stamp is of a rollout that goes on.
func (c *checkup) stamps() {
	for _, r := range c.Routes {
		c.stamp(r.ref(), r.StampRun)
	}
	for _, m := range c.Models {
		c.stamp(m.ref(), m.StampRun)
	}
}

func (c *checkup) stamp(at ref, run string) {
	if run == "" || !c.reads("configmaps", at.namespace) {
		return
	}
	fix := "kubectl annotate " + at.object + at.at() + " kubectl-infer.github.io/rollout-"
	i := slices.IndexFunc(c.Journals, func(j Journal) bool { return j.Namespace == at.namespace && j.Record.Run == run })
	switch {
	case i < 0 && !slices.ContainsFunc(c.Journals, func(j Journal) bool { return j.Problem != "" }):
		c.found("stamp-orphan", Warning, at, fix, "it carries the stamp of run %s, of which there is no journal: the next rollout is refused", run)
	case i >= 0 && c.Journals[i].Record.Phase.Finished() && c.Now.Sub(c.Journals[i].Record.Updated) > time.Minute:
		c.found("stamp-orphan", Warning, at, fix, "it carries the stamp of run %s, which is over", run)
	}
}

// leases: none is held by a process that is gone, beside those of unfinished
// rollouts.
func (c *checkup) leases() {
	for _, l := range c.Leases {
		unfinished := slices.ContainsFunc(c.Journals, func(j Journal) bool {
			return j.Namespace == l.Namespace && j.Name == l.Name && (j.Problem != "" || !over(j.Record))
		})
		if unfinished || !c.held(l) || !c.dead(l) {
			continue
		}
		at := ref{l.Namespace, "lease/" + l.Name}
		c.found("lease-stale", Note, at, "kubectl delete lease "+l.Name+at.at()+"   # or leave it: the next rollout takes it after one period",
			"it is held by %s, which is gone", *l.Spec.HolderIdentity)
	}
}

func over(r rollout.Record) bool { return r.Phase.Finished() }

// unread: what could not be looked at, unless the user's rights explain it.
func (c *checkup) unread() {
	if slices.ContainsFunc(c.findings, func(f Finding) bool { return f.Check == "rights" }) {
		return
	}
	for _, u := range c.Unread {
		c.found("unread", Note, ref{u.Namespace, u.Resource}, "kubectl auth can-i list "+u.Resource+ref{u.Namespace, ""}.at(), "not looked at, and nothing is said of them: %s", u.Why)
	}
}
