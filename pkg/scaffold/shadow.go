package scaffold

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ByMirror is CreatedBy on what a mirror makes.
const ByMirror = "mirror-start"

// ShadowName is the Service of a mirrored route, one for each route so that a
// role can name it: infer-mirror-ROUTE, with a hashed tail where that is no DNS
// label.
func ShadowName(route string) string {
	full := "infer-mirror-" + route
	if len(full) <= maxLabel && !strings.Contains(route, ".") {
		return full
	}
	sum := sha256.Sum256([]byte(route))
	tail := "-" + hex.EncodeToString(sum[:4])
	return strings.TrimRight(strings.ReplaceAll(full, ".", "-")[:min(len(full), maxLabel-len(tail))], "-") + tail
}

// Shadow is the plain Service before the pods of an InferencePool. A
// RequestMirror filter takes a Service, and where a gateway takes a pool the
// copies ask no picker anyway (docs/providers.md).
func Shadow(route, namespace string, selector map[string]string, port int32) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: ShadowName(route), Namespace: namespace, Labels: Labels(ByMirror)},
		Spec: corev1.ServiceSpec{
			Selector: selector,
			Ports:    []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: port, TargetPort: intstr.FromInt32(port)}},
		},
	}
}
