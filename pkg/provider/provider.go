package provider

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Answer says whether a gateway has a capability.
type Answer string

// The answers.
const (
	Yes      Answer = "yes"
	Partly   Answer = "partly" // the note says which part
	No       Answer = "no"
	NotKnown Answer = "not known" // neither source, documentation nor an issue says
)

// Capability is an answer with what a user must know beside it.
type Capability struct {
	Answer Answer
	Note   string
}

func (c Capability) String() string {
	if c.Note == "" {
		return string(c.Answer)
	}
	return string(c.Answer) + ": " + c.Note
}

// Routing is how "model" of a request's body becomes a header that routes match.
type Routing string

// The ways.
const (
	// BuiltIn: the gateway does it; there is nothing to create.
	BuiltIn Routing = "built in"
	// ByAgentgatewayPolicy: an AgentgatewayPolicy of the Gateway reads the body.
	ByAgentgatewayPolicy Routing = "AgentgatewayPolicy"
	// ByEnvoyFilter: our body router, by EnvoyFilter and DestinationRule.
	ByEnvoyFilter Routing = "body router by EnvoyFilter"
	// ByEnvoyExtensionPolicy: our body router, by EnvoyExtensionPolicy and a
	// route that catches every request.
	ByEnvoyExtensionPolicy Routing = "body router by EnvoyExtensionPolicy"
	// ByGCPRoutingExtension: our body router, by GCPRoutingExtension and a
	// HealthCheckPolicy.
	ByGCPRoutingExtension Routing = "body router by GCPRoutingExtension"
	// ByClient: the gateway can do neither; clients must send the header.
	ByClient Routing = "clients send X-Gateway-Model-Name"
	// ByHand: an unknown gateway; the body router is made and wiring it is left
	// to the user.
	ByHand Routing = "wire the body router by hand"
)

// UsesBodyRouter says whether our body router has a place in it.
func (r Routing) UsesBodyRouter() bool {
	return slices.Contains([]Routing{ByEnvoyFilter, ByEnvoyExtensionPolicy, ByGCPRoutingExtension, ByHand}, r)
}

// Proof is what the objects that are made for a provider were held against.
type Proof string

// The proofs.
const (
	// Ran: requests were sent through it.
	Ran Proof = "run"
	// Checked: a real API server with the provider's own definitions took them.
	Checked Proof = "objects checked against its own definitions, not run"
	// CheckedInCommon: nothing of its own is made.
	CheckedInCommon Proof = "objects checked against the definitions that all gateways share, not run"
	// CheckedAsFork: the definitions were those of Envoy Gateway.
	CheckedAsFork Proof = "objects checked against Envoy Gateway's definitions, of which it is a fork; not run"
	// Documented: no Go module carries the definitions.
	Documented Proof = "shape from its documentation, not proven"
)

// Defect is a known wrong of a provider.
type Defect struct {
	Issue string // such as istio/istio#61594; empty where only the source shows it
	What  string
	From  string // first version known to have it; empty is from the beginning
	Last  string // last version known to have it, where Fixed is not known
	Fixed string // first version without it; with neither, all versions have it
}

// Provider is one row of the matrix.
type Provider struct {
	Name  string // of --provider
	Title string // as its makers write it

	Controllers []string           // spec.controllerName of its GatewayClasses
	Classes     []string           // names its GatewayClasses usually have
	OwnClass    bool               // no class comes with it: one is created
	Groups      []string           // API groups by which it is told from others with the same controller
	Images      []string           // last path element of its controller's images
	Kinds       []schema.GroupKind // objects of its own that are made for it

	Minimum  string   // version and settings needed for InferencePools
	PoolAPIs []string // group/version of InferencePool that it reads, newest first

	Weighted      Capability // several weighted InferencePools in one rule
	OwnPicker     Capability // each of them asks its own picker
	MirrorService Capability
	MirrorPool    Capability
	FailOpen      Capability // failureMode of a pool is honoured, both ways
	Routing       Routing
	RoutingNote   string
	Policies      []string // policy objects and what they are for
	PickersMade   bool     // it makes the pickers of its pools itself

	Defects []Defect
	Proof   Proof
}

// Proven says that the objects made for it were held against something real.
func (p Provider) Proven() bool { return p.Proof != Documented }

// All is the matrix, in the order of the documentation.
func All() []Provider {
	return []Provider{ack(), istio(), agentgateway(), gke(), envoyGateway(), nginx(), sandbox(), none()}
}

// Names are those of --provider.
func Names() []string {
	var names []string
	for _, p := range All() {
		names = append(names, p.Name)
	}
	return names
}

// Named is the provider called name. The error lists the names.
func Named(name string) (Provider, error) {
	for _, p := range All() {
		if p.Name == name {
			return p, nil
		}
	}
	return Provider{}, hint.Errorf("see docs/providers.md; none is for a gateway that is not listed",
		"provider %q is none of %s", name, strings.Join(Names(), ", "))
}

// Help is one line for each provider, for --help.
func Help() string {
	var b strings.Builder
	for _, p := range All() {
		b.WriteString("  " + p.Name + strings.Repeat(" ", max(1, 18-len(p.Name))) + p.Title)
		if !p.Proven() {
			b.WriteString(" (" + string(p.Proof) + ")")
		}
		b.WriteString("\n")
	}
	return b.String()
}
