package adapters

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// update is one call of Changed.
type update struct {
	m      *Map
	synced bool
	err    error
}

func follow(t *testing.T, client *fake.Clientset, namespace string) (*Watcher, <-chan update) {
	t.Helper()
	updates := make(chan update, 100)
	w := &Watcher{
		Client: client, Namespace: namespace, Log: slog.New(slog.DiscardHandler),
		Changed: func(m *Map, synced bool, err error) { updates <- update{m, synced, err} },
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return w, updates
}

func await(t *testing.T, updates <-chan update, what string, is func(update) bool) update {
	t.Helper()
	for {
		select {
		case u := <-updates:
			if is(u) {
				return u
			}
		case <-t.Context().Done():
			t.Fatal(what)
		}
	}
}

func configMap(namespace, name, label, base, adapters string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{label: "true"}},
		Data:       map[string]string{"baseModel": base, "adapters": adapters},
	}
}

func TestBothLabelsAreFollowed(t *testing.T) {
	t.Parallel()
	maps := configMaps{t, fake.NewClientset(
		configMap("ns", "a", Labels()[0], "llama", "[x]"), configMap("ns", "other", "unrelated", "nobody", "[n]"),
		configMap("elsewhere", "c", Labels()[0], "far", "[f]"),
	)}
	w, updates := follow(t, maps.client, "ns")
	await(t, updates, "synced", func(u update) bool { return u.synced && u.err == nil && u.m.Len() == 2 })
	maps.create(configMap("ns", "b", Labels()[1], "qwen", "[z]"))
	await(t, updates, "the second label is seen", func(u update) bool { return u.m.Len() == 4 })
	maps.update(configMap("ns", "b", Labels()[1], "qwen", "[x, z]"))
	await(t, updates, "a conflict is seen", func(u update) bool { return len(u.m.Conflicts) == 1 })
	if base, ok := w.BaseModel("z"); base != "qwen" || !ok {
		t.Errorf("z has %q", base)
	}
	maps.delete("a")
	await(t, updates, "the conflict is gone", func(u update) bool { return len(u.m.Conflicts) == 0 })
	if base, _ := w.BaseModel("x"); base != "qwen" {
		t.Errorf("x has %q, want that of the ConfigMap that is left", base)
	}
	for _, unknown := range []string{"n", "f", "llama"} {
		if base, ok := w.BaseModel(unknown); ok {
			t.Errorf("%s has %q", unknown, base)
		}
	}
}

// configMaps changes what the watcher sees.
type configMaps struct {
	t      *testing.T
	client *fake.Clientset
}

func (c configMaps) create(m *corev1.ConfigMap) {
	c.t.Helper()
	if _, err := c.client.CoreV1().ConfigMaps(m.Namespace).Create(c.t.Context(), m, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c configMaps) update(m *corev1.ConfigMap) {
	c.t.Helper()
	if _, err := c.client.CoreV1().ConfigMaps(m.Namespace).Update(c.t.Context(), m, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c configMaps) delete(name string) {
	c.t.Helper()
	if err := c.client.CoreV1().ConfigMaps("ns").Delete(c.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// Charts before v1.3 grant no right to ConfigMaps; a router that waited for one
// would never be ready.
func TestAForbiddenListIsAnEmptyMap(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	client.PrependReactor("list", "configmaps", func(ktesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", errors.New("no"))
	})
	_, updates := follow(t, client, "")
	u := await(t, updates, "denied", func(u update) bool { return u.synced })
	if u.err == nil || u.m.Len() != 0 {
		t.Errorf("got %v, %d names", u.err, u.m.Len())
	}
}
