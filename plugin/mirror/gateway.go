package mirror

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

// The features a GatewayClass reports for mirroring (Gateway API v1,
// GatewayClassStatus.supportedFeatures; names of its conformance suite).
const (
	featureMirror  = "HTTPRouteRequestMirror"
	featurePercent = "HTTPRouteRequestPercentageMirror"
)

// checkGateways refuses a route whose gateway says, or is known, not to copy
// requests. What cannot be found out is a note: the counters will tell.
func checkGateways(ctx context.Context, clients *kube.Clients, name string, percent int) (notes []string, err error) {
	object, err := clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(clients.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get httproute %s/%s: %w", clients.Namespace, name, err)
	}
	var route gatewayv1.HTTPRoute
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &route); err != nil {
		return nil, fmt.Errorf("read httproute %s/%s: %w", clients.Namespace, name, err)
	}
	for _, ref := range route.Spec.ParentRefs {
		if ref.Kind != nil && *ref.Kind != "Gateway" {
			continue
		}
		namespace := clients.Namespace
		if ref.Namespace != nil {
			namespace = string(*ref.Namespace)
		}
		class, err := classOf(ctx, clients, namespace, string(ref.Name))
		if err != nil {
			notes = append(notes, fmt.Sprintf("whether gateway %s copies requests is not known: %v", ref.Name, err))
			continue
		}
		note, err := capable(class, percent)
		if err != nil {
			return nil, err
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	return notes, nil
}

func classOf(ctx context.Context, clients *kube.Clients, namespace, name string) (*gatewayv1.GatewayClass, error) {
	object, err := clients.Dynamic.Resource(kube.Gateways()).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	var gateway gatewayv1.Gateway
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &gateway); err != nil {
		return nil, err
	}
	if object, err = clients.Dynamic.Resource(kube.GatewayClasses()).Get(ctx, string(gateway.Spec.GatewayClassName), metav1.GetOptions{}); err != nil {
		return nil, err
	}
	var class gatewayv1.GatewayClass
	return &class, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &class)
}

// capable says whether gateways of a class copy a percentage of requests: by
// what the class reports, else by the table of providers.
func capable(class *gatewayv1.GatewayClass, percent int) (note string, err error) {
	has := func(feature string) bool {
		return slices.ContainsFunc(class.Status.SupportedFeatures, func(f gatewayv1.SupportedFeature) bool { return string(f.Name) == feature })
	}
	p, why := provider.Detect(provider.Facts{Classes: []provider.Class{{Name: class.Name, Controller: string(class.Spec.ControllerName)}}})
	reports := len(class.Status.SupportedFeatures) > 0
	switch {
	case p.MirrorService.Answer == provider.No:
		return "", hint.Errorf("send the shadow a part of the real requests instead: kubectl infer canary run", "%s does not copy requests (%s): %s", p.Title, why, p.MirrorService.Note)
	case reports && !has(featureMirror):
		return "", hint.Errorf("send the shadow a part of the real requests instead: kubectl infer canary run",
			"gatewayclass %s does not copy requests: %s is not among its supportedFeatures", class.Name, featureMirror)
	case reports && !has(featurePercent) && percent < 100:
		return "", hint.Errorf("--percent 100 with a token budget that holds it, or a canary: kubectl infer canary run",
			"gatewayclass %s copies every request or none: %s is not among its supportedFeatures", class.Name, featurePercent)
	case p.MirrorService.Answer != provider.Yes && !has(featureMirror):
		return fmt.Sprintf("whether this gateway copies requests is not known (%s); the counters will tell", why), nil
	}
	return "", nil
}
