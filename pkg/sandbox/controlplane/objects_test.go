package controlplane_test

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
)

const widgets = `# a file may begin with a comment
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.example.test
spec:
  group: example.test
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object}}
  - name: v1alpha1
    served: false
    storage: false
    schema: {openAPIV3Schema: {type: object}}
`

func definitions(t *testing.T, c *controlplane.ControlPlane) {
	ctx, admin := t.Context(), c.AdminConfig()
	for range 2 { // a second time changes nothing
		if err := controlplane.InstallCRDs(ctx, admin, []byte(widgets)); err != nil {
			t.Fatal(err)
		}
	}
	body := `{"apiVersion":"example.test/v1","kind":"Widget","metadata":{"name":"w"}}`
	err := clientOf(t, admin).RESTClient().Post().AbsPath("/apis/example.test/v1/namespaces/default/widgets").
		SetHeader("Content-Type", "application/json").Body([]byte(body)).Do(ctx).Error()
	if err != nil {
		t.Error(err)
	}
}

func serviceAccount(t *testing.T, c *controlplane.ControlPlane) {
	ctx, admin := t.Context(), c.AdminConfig()
	for range 2 {
		if err := controlplane.EnsureDefaults(ctx, admin, "default", "team-a"); err != nil {
			t.Fatal(err)
		}
	}
	token, err := clientOf(t, admin).CoreV1().ServiceAccounts("team-a").
		CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	account := c.Config("nobody")
	account.BearerToken = token.Status.Token
	_, err = clientOf(t, account).CoreV1().ConfigMaps("default").Get(ctx, "x", metav1.GetOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "system:serviceaccount:team-a:default") {
		t.Errorf("the token answers %v, want forbidden as its service account", err)
	}
}

func TestInstallCRDsRefusesOtherKinds(t *testing.T) {
	t.Parallel()
	other := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
	err := controlplane.InstallCRDs(t.Context(), nil, []byte(widgets+"---\n"+other))
	if err == nil || !strings.Contains(err.Error(), `kind "ConfigMap" named "x"`) {
		t.Errorf("InstallCRDs() = %v", err)
	}
}
