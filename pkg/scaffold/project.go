package scaffold

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

// ProjectOptions are what init was asked for: one model behind one Gateway.
type ProjectOptions struct {
	About    // Name is of the pool, its model server and its route
	Provider provider.Provider
	PoolAPI  string // empty is the provider's newest
	Gateway  string
	Class    string // empty is the provider's
	Port     int
	Server   ModelServerOptions // its About is set here
	Images   Images
	Timeout  time.Duration // of a whole request
}

// Images are those of our two servers.
type Images struct{ BodyRouter, Picker string }

// File is one file of a project.
type File struct {
	Name string
	Text []byte
}

// part is a file before it is written.
type part struct {
	name    string
	comment string
	objects []runtime.Object
}

// buffer is what a project lets the gateway keep of a body: as much as the body
// router takes.
const buffer = "20Mi"

// Project is a directory for `kubectl apply -k` or for Git: the objects in the
// order in which one needs the other, a comment in each file, and a
// kustomization that lists them.
func Project(o ProjectOptions) ([]File, error) {
	if o.Server.Served == "" {
		o.Server.Served = o.Server.Model
	}
	var parts []part
	for _, build := range []func(ProjectOptions) ([]part, error){gatewayPart, routerPart, modelServerPart, poolParts, routePart, limitsPart} {
		made, err := build(o)
		if err != nil {
			return nil, err
		}
		parts = append(parts, made...)
	}
	files := []File{o.kustomization(parts)}
	for _, p := range parts {
		text, err := YAML(p.objects...)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Name: p.name, Text: append([]byte(comment(p.comment)), text...)})
	}
	return files, nil
}

// comment wraps text into lines of a YAML comment.
func comment(text string) string {
	var b strings.Builder
	for _, paragraph := range strings.Split(text, "\n") {
		line := "#"
		for _, word := range strings.Fields(paragraph) {
			if len(line)+1+len(word) > 90 && line != "#" {
				b.WriteString(line + "\n")
				line = "#"
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func (o ProjectOptions) kustomization(parts []part) File {
	var b strings.Builder
	b.WriteString(comment(fmt.Sprintf("The model %s behind the Gateway %s, for %s.\nNeeds: %s.", o.Server.Served, o.Gateway, o.Provider.Title, o.Provider.Minimum)))
	if !o.Provider.Proven() {
		b.WriteString(comment("The objects of this gateway's own kinds: " + string(provider.Documented) + "."))
	}
	fmt.Fprintf(&b, "#\n#   kubectl apply -k .\n#   kubectl wait --for=condition=Available deployment --all -n %s --timeout=30m\n#\n", o.Namespace)
	if o.Provider.Weighted.Answer == provider.No {
		b.WriteString(comment("A rollout between two pools is not possible here: " + o.Provider.Weighted.Note + ". One between LoRA adapters of a pool is: kubectl infer create model."))
	} else {
		b.WriteString(comment(fmt.Sprintf("A new version of the model is a second model server, pool and picker (kubectl infer create), and then: kubectl infer canary run httproute/%s --stable %s --canary NEW --add-backend", o.Name, o.Name)))
	}
	b.WriteString("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n")
	for _, p := range parts {
		b.WriteString("- " + p.name + "\n")
	}
	return File{Name: "kustomization.yaml", Text: []byte(b.String())}
}

func gatewayPart(o ProjectOptions) ([]part, error) {
	options := GatewayOptions{About: o.called(o.Gateway), Provider: o.Provider, Class: o.Class, Port: o.Port}
	text := "Where requests come in."
	switch o.Provider.Name {
	case "ack", "envoy-gateway", "sandbox", "agentgateway", "ngf":
		options.Buffer = buffer
		text += " The policy lets prompts of up to " + buffer + " pass: by default a gateway keeps far less."
	}
	if o.Provider.Routing == provider.ByAgentgatewayPolicy {
		text += " Another one has the gateway read the model's name before it routes."
	}
	objects, err := Gateway(options)
	return []part{{"10-gateway.yaml", text, objects}}, err
}

func routerPart(o ProjectOptions) ([]part, error) {
	if !o.Provider.Routing.UsesBodyRouter() {
		return nil, nil
	}
	options := ForBodyRouter(o.Provider, ServerOptions{About: o.called("body-router"), Image: o.Images.BodyRouter, Replicas: 2})
	if err := options.Check(); err != nil {
		return nil, err
	}
	wiring, err := Wiring(o.Provider, options.About, o.Gateway)
	text := `The body router lifts "model" out of a request's body into X-Gateway-Model-Name, by which routes choose.`
	if len(wiring) > 0 {
		text += " The last objects have the gateway call it."
	} else {
		text += " How this gateway comes to call it is not here: " + o.Provider.RoutingNote + "."
	}
	return []part{{"20-body-router.yaml", text, append(BodyRouter(options), wiring...)}}, err
}

func modelServerPart(o ProjectOptions) ([]part, error) {
	o.Server.About = o.About
	server, err := ModelServer(o.Server)
	text := "The model server."
	if o.Server.Simulated {
		text += " It is simulated: no GPU is needed, and no answer means anything."
	}
	return []part{{"30-model-server.yaml", text, []runtime.Object{server}}}, err
}

func poolParts(o ProjectOptions) ([]part, error) {
	options := PoolOptions{
		About: o.About, Provider: o.Provider, API: o.PoolAPI, Selector: map[string]string{"app": o.Name}, Ports: []int{o.Server.Port},
	}.Defaults()
	pool, err := Pool(options)
	if err != nil {
		return nil, err
	}
	text := "The model servers as one backend of routes. " + map[string]string{
		FailOpen:  "While its picker is away the gateway chooses an endpoint itself.",
		FailClose: "While its picker is away requests get 503: this gateway knows nothing else.",
	}[options.FailureMode]
	parts := []part{{"40-pool.yaml", text, pool}}
	if o.Provider.PickersMade {
		parts[0].comment += " The gateway makes the picker itself."
		return parts, nil
	}
	picker := PickerOptions{
		ServerOptions: ForPicker(o.Provider, ServerOptions{About: o.called(options.Picker), Image: o.Images.Picker, Replicas: 1}),
		Pool:          o.Name, Group: PoolGroupVersion(options.API).Group,
	}
	if err := picker.Check(); err != nil {
		return nil, err
	}
	objects := append(Picker(picker), PickerWiring(o.Provider, picker.About, picker.Secure)...)
	return append(parts, part{"50-picker.yaml", "The endpoint picker: it chooses the Pod for each request of the pool, and measures what rollouts are gated on.", objects}), nil
}

func routePart(o ProjectOptions) ([]part, error) {
	model := Model{Name: o.Server.Served, Pool: o.Name, Group: PoolGroupVersion(PoolOptions{Provider: o.Provider, API: o.PoolAPI}.Defaults().API).Group}
	for _, a := range o.Server.Adapters {
		model.Adapters = append(model.Adapters, a.Name)
	}
	options := RouteOptions{About: o.About, Models: []Model{model}, Gateway: o.Gateway}
	if o.Provider.Name == "istio" || o.Provider.Name == "none" { // the others have a policy for it
		options.Timeout = o.Timeout
	}
	routes, err := Routes(options)
	if err != nil {
		return nil, err
	}
	maps, err := AdapterMaps(o.About, options.Models)
	if err != nil {
		return nil, err
	}
	var objects []runtime.Object
	for _, r := range routes {
		objects = append(objects, r)
	}
	for _, m := range maps {
		objects = append(objects, m)
	}
	text := "Requests for the model, and for each of its adapters, go to the pool."
	if o.Provider.Routing == provider.ByClient {
		text += " This gateway does not read the body: clients must send X-Gateway-Model-Name themselves."
	}
	return []part{{"60-route.yaml", text, objects}}, nil
}

// limitsPart is the policy for long generations, where the gateway has one.
func limitsPart(o ProjectOptions) ([]part, error) {
	options := PolicyOptions{
		Provider: o.Provider, Name: o.Name, Namespace: o.Namespace, Verb: o.Verb, Gateway: o.Gateway, Timeout: o.Timeout,
		Route: o.Name, Pool: o.Name, PoolGroup: PoolGroupVersion(PoolOptions{Provider: o.Provider, API: o.PoolAPI}.Defaults().API).Group,
	}
	switch o.Provider.Name {
	case "ack", "envoy-gateway", "sandbox", "agentgateway", "gke":
	default:
		return nil, nil
	}
	objects, err := Policies(options)
	return []part{{"70-limits.yaml", "Long generations may take " + o.Timeout.String() + "; without it the gateway ends them after its own default.", objects}}, err
}
