package target

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// patience bounds every wait of these tests; what is waited for takes
// milliseconds, or one pause before a watch is begun again.
const patience = 30 * time.Second

// watches hands out the watches of a test, one after another. Each begins, as an
// API server does when no version is asked for, with the object as it is.
type watches struct {
	begin chan func() (watch.Interface, error)
}

func followed(t *testing.T) (*watches, <-chan struct{}) {
	t.Helper()
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{Kinds()[0].Resource: "HTTPRouteList"})
	w := &watches{begin: make(chan func() (watch.Interface, error))}
	ctx, cancel := context.WithCancel(t.Context())
	client.PrependWatchReactor("*", func(clienttesting.Action) (bool, watch.Interface, error) {
		select {
		case next := <-w.begin:
			events, err := next()
			if err == nil {
				context.AfterFunc(ctx, events.Stop) // as a real one ends with its context
			}
			return true, events, err
		case <-ctx.Done():
			return true, nil, ctx.Err()
		}
	})
	object := newObject(client, Kinds()[0], "default", "chat", Selection{Stable: "v1", Canary: "v2"})
	if err := object.layout.take(standsAt(0)); err != nil {
		t.Fatal(err)
	}
	changes, done := make(chan struct{}, 16), make(chan struct{})
	go func() {
		defer close(done)
		object.Follow(ctx, func() { changes <- struct{}{} })
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w, changes
}

// standsAt is the route with so much weight on the canary.
func standsAt(weight int64) *unstructured.Unstructured {
	route := routeOf(ruleOf("", ref("v1", 100-weight), ref("v2", weight)))
	route.SetUID("u")
	return route
}

// next lets the follower begin its next watch.
func (w *watches) next(t *testing.T, begin func() (watch.Interface, error)) {
	t.Helper()
	select {
	case w.begin <- begin:
	case <-time.After(patience):
		t.Fatal("no watch was begun")
	}
}

// open begins a watch that lives until the test stops it.
func (w *watches) open(t *testing.T, first *unstructured.Unstructured) *watch.FakeWatcher {
	t.Helper()
	events := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 16})
	events.Add(first)
	w.next(t, func() (watch.Interface, error) { return events, nil })
	return events
}

func noticed(t *testing.T, changes <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(patience):
		t.Fatalf("%s was not noticed", what)
	}
}

func TestAWriteThatMattersIsNoticedByTheWatch(t *testing.T) {
	t.Parallel()
	stamped := standsAt(7)
	stamped.SetAnnotations(map[string]string{StampAnnotation: "theirs"})
	labelled := standsAt(0)
	labelled.SetLabels(map[string]string{"beat": "1"})
	w, changes := followed(t)
	events := w.open(t, standsAt(0))
	events.Modify(labelled) // must not be taken for a change: the next one is the first
	events.Modify(standsAt(7))
	noticed(t, changes, "a foreign weight")
	events.Modify(stamped)
	noticed(t, changes, "a foreign stamp")
	events.Delete(stamped)
	noticed(t, changes, "a deletion")
	if len(changes) > 0 {
		t.Errorf("%d more changes were told than there were", len(changes))
	}
}

// TestAWatchThatBreaksIsBegunAgain also proves that what changed meanwhile is
// noticed: the new watch begins with the object as it is by then.
func TestAWatchThatBreaksIsBegunAgain(t *testing.T) {
	t.Parallel()
	expired := &metav1.Status{Status: metav1.StatusFailure, Code: 410, Reason: metav1.StatusReasonExpired, Message: "too old resource version"}
	tests := map[string]func(*testing.T, *watches, *watch.FakeWatcher){
		"it ends":               func(_ *testing.T, _ *watches, events *watch.FakeWatcher) { events.Stop() },
		"it was compacted away": func(_ *testing.T, _ *watches, events *watch.FakeWatcher) { events.Error(expired) },
		"it cannot be begun at once": func(t *testing.T, w *watches, events *watch.FakeWatcher) {
			events.Stop()
			w.next(t, func() (watch.Interface, error) { return nil, errors.New("connection refused") })
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, changes := followed(t)
			end(t, w, w.open(t, standsAt(0)))
			w.open(t, standsAt(7))
			noticed(t, changes, "what changed between two watches")
		})
	}
}
