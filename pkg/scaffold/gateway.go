package scaffold

import (
	"k8s.io/apimachinery/pkg/runtime"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

// GatewayOptions are what create gateway was asked for.
type GatewayOptions struct {
	About
	Provider provider.Provider
	Class    string // GatewayClass; empty is the provider's
	Port     int
	Buffer   string // quantity: the longest body the gateway keeps; empty leaves it
}

// Gateway is a Gateway with one HTTP listener, the GatewayClass where none comes
// with the provider, the buffer that long prompts need, and the policy that
// reads the model's name where the provider does that itself.
func Gateway(o GatewayOptions) ([]runtime.Object, error) {
	class := o.Class
	if class == "" && len(o.Provider.Classes) > 0 {
		class = o.Provider.Classes[0]
	}
	switch {
	case class == "":
		return nil, hint.Errorf("--gateway-class NAME, as kubectl get gatewayclasses shows it", "provider %s has no GatewayClass of its own to name", o.Provider.Name)
	case o.Port < 1 || o.Port > 65535:
		return nil, hint.Errorf("--port 80", "port %d is none", o.Port)
	}
	var list []runtime.Object
	if o.Provider.OwnClass && o.Class == "" {
		classMeta := o.called(class).meta()
		classMeta.Namespace = ""
		list = append(list, &gwv1.GatewayClass{
			TypeMeta: typed(gwv1.GroupVersion.String(), "GatewayClass"), ObjectMeta: classMeta,
			Spec: gwv1.GatewayClassSpec{ControllerName: gwv1.GatewayController(o.Provider.Controllers[0])},
		})
	}
	list = append(list, &gwv1.Gateway{
		TypeMeta: typed(gwv1.GroupVersion.String(), "Gateway"), ObjectMeta: o.meta(),
		Spec: gwv1.GatewaySpec{
			GatewayClassName: gwv1.ObjectName(class),
			Listeners:        []gwv1.Listener{{Name: "http", Port: gwv1.PortNumber(o.Port), Protocol: gwv1.HTTPProtocolType}},
		},
	})
	if o.Buffer != "" {
		policies, err := Policies(PolicyOptions{Provider: o.Provider, Name: o.Name, Namespace: o.Namespace, Verb: o.Verb, Gateway: o.Name, Buffer: o.Buffer})
		if err != nil {
			return nil, err
		}
		list = append(list, policies...)
	}
	if o.Provider.Routing == provider.ByAgentgatewayPolicy {
		list = append(list, modelPolicy(o.About))
	}
	return list, nil
}

// modelPolicy has agentgateway read "model" of the body before it routes.
// Source: agentgateway.dev v1alpha1 AgentgatewayPolicy, traffic.phase PreRouting.
func modelPolicy(gateway About) runtime.Object {
	return gateway.called(gateway.Name+"-model-name").custom("agentgateway.dev/v1alpha1", "AgentgatewayPolicy", map[string]any{
		"targetRefs": gatewayRefs(gateway.Name),
		"traffic": map[string]any{
			"phase": "PreRouting",
			"transformation": map[string]any{"request": map[string]any{
				"set": []any{map[string]any{"name": "X-Gateway-Model-Name", "value": "json(request.body).model"}},
			}},
		},
	})
}

func gatewayRefs(name string) []any {
	return []any{map[string]any{"group": gwv1.GroupName, "kind": "Gateway", "name": name}}
}
