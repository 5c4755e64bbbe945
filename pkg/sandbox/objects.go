package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// What every sandbox has from the start.
const (
	GatewayClassName = "kubectl-infer-sandbox"
	ControllerName   = "kubectl-infer.github.io/sandbox-gateway"
	GatewayName      = "inference-gateway"
	GatewayNamespace = "default"
	GatewayPort      = 8080
)

const gatewayLimit = 30 * time.Second

func createGateway(ctx context.Context, config *rest.Config) error {
	client, err := versioned.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client for the Gateway API: %w", err)
	}
	class := &gatewayv1.GatewayClass{
		TypeMeta:   metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: "GatewayClass"},
		ObjectMeta: metav1.ObjectMeta{Name: GatewayClassName},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: ControllerName},
	}
	gateway := &gatewayv1.Gateway{
		TypeMeta:   metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: "Gateway"},
		ObjectMeta: metav1.ObjectMeta{Name: GatewayName, Namespace: GatewayNamespace},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: GatewayClassName,
			Listeners:        []gatewayv1.Listener{{Name: "http", Port: GatewayPort, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}
	if err := asApplied(class); err != nil {
		return err
	}
	if err := asApplied(gateway); err != nil {
		return err
	}
	if _, err := client.GatewayV1().GatewayClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create gatewayclass %s: %w", class.Name, err)
	}
	if _, err := client.GatewayV1().Gateways(gateway.Namespace).Create(ctx, gateway, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create gateway %s: %w", gateway.Name, err)
	}
	return nil
}

// asApplied leaves the mark of `kubectl apply`, so that applying the same
// object later (manifests/example has it) is not met with a warning.
func asApplied(object metav1.Object) error {
	text, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", object.GetName(), err)
	}
	object.SetAnnotations(map[string]string{corev1.LastAppliedConfigAnnotation: string(text)})
	return nil
}

// awaitGateway returns the address:port of the first listener once the Gateway
// is programmed, and gives up after half a minute.
func awaitGateway(ctx context.Context, config *rest.Config) (string, error) {
	client, err := versioned.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("make client for the Gateway API: %w", err)
	}
	var gateway *gatewayv1.Gateway
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, gatewayLimit, true, func(ctx context.Context) (bool, error) {
		gateway, err = client.GatewayV1().Gateways(GatewayNamespace).Get(ctx, GatewayName, metav1.GetOptions{})
		if err != nil {
			return false, nil // the limit decides
		}
		return programmed(gateway), nil
	})
	if err != nil {
		said := "no status"
		if gateway != nil {
			if c := meta.FindStatusCondition(gateway.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed)); c != nil {
				said = string(c.Status) + ": " + c.Message
			}
		}
		return "", hint.Errorf("see kubectl infer sandbox logs envoy, and logs supervisor",
			"wait for gateway %s to be programmed: %w (Programmed is %s)", GatewayName, err, said)
	}
	return net.JoinHostPort(gateway.Status.Addresses[0].Value, strconv.Itoa(GatewayPort)), nil
}

func programmed(g *gatewayv1.Gateway) bool {
	c := meta.FindStatusCondition(g.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed))
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == g.Generation && len(g.Status.Addresses) > 0
}
