package target

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// conditionWaits says why the condition of this type is not True at generation;
// "" when it is.
func conditionWaits(conditions []metav1.Condition, kind string, generation int64) string {
	c := meta.FindStatusCondition(conditions, kind)
	switch {
	case c == nil:
		return kind + " is not reported"
	case c.ObservedGeneration < generation:
		return fmt.Sprintf("%s is reported for generation %d, not yet %d", kind, c.ObservedGeneration, generation)
	case c.Status != metav1.ConditionTrue:
		return fmt.Sprintf("%s is %s: %s: %s", kind, c.Status, c.Reason, c.Message)
	}
	return ""
}

// sameParent compares two parent references with the API's defaults filled in:
// group gateway.networking.k8s.io, kind Gateway, the route's own namespace.
func sameParent(namespace string, a, b gatewayv1.ParentReference) bool {
	return a.Name == b.Name &&
		or(a.Group, gatewayv1.GroupName) == or(b.Group, gatewayv1.GroupName) &&
		or(a.Kind, "Gateway") == or(b.Kind, "Gateway") &&
		or(a.Namespace, gatewayv1.Namespace(namespace)) == or(b.Namespace, gatewayv1.Namespace(namespace)) &&
		or(a.SectionName, "") == or(b.SectionName, "") &&
		or(a.Port, 0) == or(b.Port, 0)
}

func or[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
