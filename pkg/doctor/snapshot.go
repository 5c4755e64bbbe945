package doctor

import (
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Groups of InferencePools.
const (
	groupV1    = "inference.networking.k8s.io"
	groupAlpha = "inference.networking.x-k8s.io"
)

// Snapshot is what was found in a cluster at one time. Lists that could not be
// read are empty, and named in Unread.
type Snapshot struct {
	Now        time.Time
	Namespaces []string // that were looked into; none for all

	Definitions []Definition
	Groups      []string // API groups that are served
	Classes     []gatewayv1.GatewayClass
	Gateways    []gatewayv1.Gateway // of the namespaces, and those that routes name
	Images      []string            // of controllers' containers
	Proxies     []corev1.Pod        // that run gateways

	Routes   []Route
	Pools    []Pool
	Models   []Models
	Pods     []corev1.Pod
	Services []corev1.Service
	Adapters []Adapters

	Journals []Journal
	Leases   []coordinationv1.Lease

	Pickers []PickerPage
	Servers []ServerList
	Gates   []Gate
	Rights  []Right

	Unread []Unread
}

// Unread is a kind that could not be read.
type Unread struct {
	Resource  string // plural
	Namespace string
	Why       string
}

// Definition is a kind that the cluster serves.
type Definition struct {
	Name     string   // such as httproutes.gateway.networking.k8s.io
	Versions []string // served
	Wanted   string   // the version that is used here
	Bundle   string   // release it is of, where it says so
	Problem  string   // why it is not established
}

// Route is an HTTPRoute with what its metadata says of its owners.
type Route struct {
	gatewayv1.HTTPRoute
	Owner    Owner
	StampRun string // the run whose stamp it carries; "" for none
}

// Owner is who renders an object: see target.OwnerOf.
type Owner struct {
	Tool, Sign, Suspend string
	Others              []string // managers of its rules that are not the tool's
}

// PoolKey names an InferencePool.
type PoolKey struct{ Group, Namespace, Name string }

func (k PoolKey) ref() ref {
	object := "inferencepool/" + k.Name
	if k.Group == groupAlpha {
		object = "inferencepool." + groupAlpha + "/" + k.Name
	}
	return ref{k.Namespace, object}
}

// Pool is an InferencePool of either group.
type Pool struct {
	PoolKey
	Selector  map[string]string
	Ports     []int32 // its pods serve on
	Picker    string  // its picker's Service; "" for none
	FailClose bool    // requests fail while no picker answers
}

// Models is an InferenceModel or InferenceModelRewrite.
type Models struct {
	Type            string // of TYPE/NAME
	Namespace, Name string
	Created         time.Time
	Pool            PoolKey
	Claims          []string // model names it speaks for; "" is every name
	Rules           []Rule
	StampRun        string
}

func (m Models) ref() ref { return ref{m.Namespace, m.Type + "/" + m.Name} }

// Rule is one list of target models.
type Rule struct {
	Label   string // "" where there is only one
	Targets []Target
}

// Target is a target model and its weight; Unset when it has none.
type Target struct {
	Name   string
	Weight int64
	Unset  bool
}

// Adapters is a ConfigMap that tells body routers the base model of adapters.
type Adapters struct {
	Namespace, Name string
	Base            string
	Names           []string
}

// Journal is the record of a rollout.
type Journal struct {
	Namespace, Name string
	Record          rollout.Record
	Problem         string // why it cannot be read
}

// PickerPage is what the metrics page of a picker's pod says.
type PickerPage struct {
	Pod      string
	Pool     PoolKey // whose endpointPickerRef led to it
	Serves   string  // NAMESPACE/NAME that the page is about; "" when it does not say
	Answered float64
	Astray   float64 // answers from another endpoint than the one picked
	Problem  string  // why it cannot be read
}

// ServerList is what a ready model server answers to GET /v1/models.
type ServerList struct {
	Pod     string
	Pool    PoolKey
	Models  []string
	Problem string
}

// Gate is a gate that somebody is about to use, and the buckets it would be
// read from.
type Gate struct {
	Namespace, Object string
	Expr              gate.Expr
	Edges             []float64 // seconds; none for errors
	Problem           string    // why it cannot be read at all
}

// Right is something a rollout of an object needs to be allowed.
type Right struct {
	Namespace, Object string
	What              string // such as: patch httproutes/chat
	Allowed           bool
}

// reads says whether the kind was read in the namespace.
func (s Snapshot) reads(resource, namespace string) bool {
	return !slices.ContainsFunc(s.Unread, func(u Unread) bool {
		return u.Resource == resource && (u.Namespace == "" || u.Namespace == namespace)
	}) && (len(s.Namespaces) == 0 || slices.Contains(s.Namespaces, namespace))
}

func (s Snapshot) pool(key PoolKey) (Pool, bool) {
	i := slices.IndexFunc(s.Pools, func(p Pool) bool { return p.PoolKey == key })
	if i < 0 {
		return Pool{}, false
	}
	return s.Pools[i], true
}

// twin is the pool of the same name in the other group.
func (s Snapshot) twin(key PoolKey) (Pool, bool) {
	key.Group = map[string]string{groupV1: groupAlpha, groupAlpha: groupV1}[key.Group]
	return s.pool(key)
}

// servers are the pods a pool selects that are not at their end.
func (s Snapshot) servers(p Pool) []corev1.Pod { return s.selected(p.Namespace, p.Selector) }

func (s Snapshot) selected(namespace string, selector map[string]string) []corev1.Pod {
	var pods []corev1.Pod
	for _, pod := range s.Pods {
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if len(selector) > 0 && pod.Namespace == namespace && !ended && labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
			pods = append(pods, pod)
		}
	}
	return pods
}

func ready(pods []corev1.Pod) []corev1.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(pod corev1.Pod) bool {
		return pod.DeletionTimestamp != nil || !slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
	})
}

// shares are the pools that a route's rules send to, rule by rule.
func (r Route) shares() []ruleShares {
	var all []ruleShares
	for i, rule := range r.Spec.Rules {
		s := ruleShares{index: i, label: ruleLabel(rule, i)}
		for _, b := range rule.BackendRefs {
			weight := int64(1)
			if b.Weight != nil {
				weight = int64(*b.Weight)
			}
			s.sum += weight
			if b.Kind == nil || *b.Kind != "InferencePool" || b.Group == nil {
				continue
			}
			key := PoolKey{Group: string(*b.Group), Namespace: r.Namespace, Name: string(b.Name)}
			if b.Namespace != nil {
				key.Namespace = string(*b.Namespace)
			}
			s.pools = append(s.pools, share{key, weight})
		}
		all = append(all, s)
	}
	return all
}

// ruleShares are the pools of one rule; sum is the weight of all its backends.
type ruleShares struct {
	index int
	label string
	sum   int64
	pools []share
}

type share struct {
	PoolKey
	weight int64
}

func (r Route) ref() ref { return ref{r.Namespace, "httproute/" + r.Name} }
