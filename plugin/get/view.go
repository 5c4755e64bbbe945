package get

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/doctor"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/collect"
)

// What can be listed.
const (
	pools  = "pools"
	models = "models"
	routes = "routes"
)

// list is what -o json prints: of each kind asked for a list, which may be empty.
type list struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Pools      []poolRow  `json:"pools,omitzero"`
	Models     []modelRow `json:"models,omitzero"`
	Routes     []routeRow `json:"routes,omitzero"`
}

// share is one arm of a split; Percent of the requests.
type share struct {
	Name    string  `json:"name"`
	Weight  int64   `json:"weight"`
	Percent float64 `json:"percent"`
}

type poolRow struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Group     string   `json:"group"`
	Pods      int      `json:"pods"`
	Ready     int      `json:"ready"`
	Picker    string   `json:"picker,omitempty"`
	Pickers   int      `json:"pickersReady"`
	Routes    []string `json:"routes,omitempty"` // NAME PERCENT
}

type modelRow struct {
	Namespace string  `json:"namespace"`
	Object    string  `json:"object"` // TYPE/NAME
	Pool      string  `json:"pool"`
	Model     string  `json:"model"`
	Targets   []share `json:"targets"`
	LastRun   string  `json:"lastRun,omitempty"`
}

type routeRow struct {
	Namespace string  `json:"namespace"`
	Name      string  `json:"name"`
	Gateway   string  `json:"gateway"`
	Rule      string  `json:"rule"`
	Backends  []share `json:"backends"`
	Accepted  string  `json:"accepted"` // yes, no, or not reported
	LastRun   string  `json:"lastRun,omitempty"`
}

// view makes the rows of kinds.
func view(s doctor.Snapshot, kinds []string) list {
	l := list{APIVersion: "kubectl-infer.github.io/v1alpha1", Kind: "InferenceList"}
	if slices.Contains(kinds, routes) || slices.Contains(kinds, pools) {
		l.Routes = viewRoutes(s)
	}
	if slices.Contains(kinds, pools) {
		l.Pools = viewPools(s, l.Routes)
	}
	if !slices.Contains(kinds, routes) {
		l.Routes = nil
	}
	if slices.Contains(kinds, models) {
		l.Models = viewModels(s)
	}
	return l
}

func percents(list []share) []share {
	sum := int64(0)
	for _, s := range list {
		sum += s.Weight
	}
	for i := range list {
		if sum > 0 {
			list[i].Percent = 100 * float64(list[i].Weight) / float64(sum)
		}
	}
	return list
}

func viewRoutes(s doctor.Snapshot) []routeRow {
	rows := []routeRow{}
	for _, r := range s.Routes {
		for i, rule := range r.Spec.Rules {
			row := routeRow{Namespace: r.Namespace, Name: r.Name, Rule: fmt.Sprint(i), Accepted: accepted(r), LastRun: lastRun(s, r.Namespace, "httproute/"+r.Name)}
			if rule.Name != nil {
				row.Rule = string(*rule.Name)
			}
			var names []string
			for _, p := range r.Spec.ParentRefs {
				names = append(names, string(p.Name))
			}
			row.Gateway = strings.Join(names, ",")
			leads := false
			for _, b := range rule.BackendRefs {
				weight := int64(1)
				if b.Weight != nil {
					weight = int64(*b.Weight)
				}
				leads = leads || b.Kind != nil && *b.Kind == "InferencePool"
				row.Backends = append(row.Backends, share{Name: string(b.Name), Weight: weight})
			}
			row.Backends = percents(row.Backends)
			if leads {
				rows = append(rows, row)
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b routeRow) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return rows
}

// accepted says what the route's parents report of it.
func accepted(r doctor.Route) string {
	said := "not reported"
	for _, p := range r.Status.Parents {
		said = "yes"
		for _, c := range p.Conditions {
			if (c.Type == string(gatewayv1.RouteConditionAccepted) || c.Type == string(gatewayv1.RouteConditionResolvedRefs)) && c.Status != "True" {
				return "no: " + c.Reason
			}
		}
	}
	return said
}

func viewPools(s doctor.Snapshot, of []routeRow) []poolRow {
	rows := []poolRow{}
	for _, p := range s.Pools {
		arm := collect.Arm(s, p)
		row := poolRow{Namespace: p.Namespace, Name: p.Name, Group: p.Group, Picker: p.Picker}
		row.Pods, row.Ready = count(s.Pods, p.Namespace, arm.Servers)
		_, row.Pickers = count(s.Pods, p.Namespace, arm.Pickers)
		for _, r := range of {
			for _, b := range r.Backends {
				if b.Name == p.Name && r.Namespace == p.Namespace {
					row.Routes = append(row.Routes, fmt.Sprintf("%s %.4g%%", r.Name, b.Percent))
				}
			}
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b poolRow) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.Group, b.Group))
	})
	return rows
}

func count(pods []corev1.Pod, namespace string, selector labels.Selector) (all, ready int) {
	for _, pod := range pods {
		if selector == nil || pod.Namespace != namespace || !selector.Matches(labels.Set(pod.Labels)) || pod.DeletionTimestamp != nil {
			continue
		}
		all++
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	return all, ready
}

func viewModels(s doctor.Snapshot) []modelRow {
	rows := []modelRow{}
	for _, m := range s.Models {
		for i, rule := range m.Rules {
			row := modelRow{Namespace: m.Namespace, Object: m.Type + "/" + m.Name, Pool: m.Pool.Name, Model: "(every)", LastRun: lastRun(s, m.Namespace, m.Type+"/"+m.Name)}
			if i < len(m.Claims) && m.Claims[i] != "" {
				row.Model = m.Claims[i]
			}
			for _, t := range rule.Targets {
				row.Targets = append(row.Targets, share{Name: t.Name, Weight: t.Weight})
			}
			row.Targets = percents(row.Targets)
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b modelRow) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Object, b.Object))
	})
	return rows
}

// lastRun is the phase of a target's rollout, and when it was last written.
func lastRun(s doctor.Snapshot, namespace, target string) string {
	for _, j := range s.Journals {
		if j.Namespace != namespace || !slices.Contains(j.Record.Plan.Targets(), target) {
			continue
		}
		text := fmt.Sprintf("%s %s", j.Record.Phase, j.Record.Updated.UTC().Format("2006-01-02 15:04"))
		if j.Record.Goal != rollout.Baseline && !j.Record.Phase.Finished() {
			text = fmt.Sprintf("%s at %s, %s", j.Record.Phase, j.Record.Goal, j.Record.Updated.UTC().Format("2006-01-02 15:04"))
		}
		return text
	}
	return ""
}

// rows are a kind's table, its heads first.
func (l list) rows(kind string) [][]string {
	var rows [][]string
	switch kind {
	case pools:
		rows = [][]string{{"NAMESPACE", "POOL", "API", "READY", "PICKER", "PICKERS READY", "ROUTES"}}
		for _, p := range l.Pools {
			rows = append(rows, []string{p.Namespace, p.Name, short(p.Group), fmt.Sprintf("%d/%d", p.Ready, p.Pods), cmp.Or(p.Picker, "none"), fmt.Sprint(p.Pickers), cmp.Or(strings.Join(p.Routes, ", "), "none")})
		}
	case models:
		rows = [][]string{{"NAMESPACE", "OBJECT", "POOL", "MODEL", "TARGETS", "LAST RUN"}}
		for _, m := range l.Models {
			rows = append(rows, []string{m.Namespace, m.Object, m.Pool, m.Model, shares(m.Targets), cmp.Or(m.LastRun, "none")})
		}
	case routes:
		rows = [][]string{{"NAMESPACE", "ROUTE", "GATEWAY", "RULE", "BACKENDS", "ACCEPTED", "LAST RUN"}}
		for _, r := range l.Routes {
			rows = append(rows, []string{r.Namespace, r.Name, cmp.Or(r.Gateway, "none"), r.Rule, shares(r.Backends), r.Accepted, cmp.Or(r.LastRun, "none")})
		}
	}
	return rows
}

func short(group string) string {
	return map[string]string{"inference.networking.k8s.io": "v1", "inference.networking.x-k8s.io": "v1alpha2"}[group]
}

func shares(list []share) string {
	var texts []string
	for _, s := range list {
		texts = append(texts, fmt.Sprintf("%s %.4g%%", s.Name, s.Percent))
	}
	return cmp.Or(strings.Join(texts, ", "), "none")
}
