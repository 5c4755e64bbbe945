package target

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Pauses before a broken watch is begun again.
const (
	firstRewatch   = 250 * time.Millisecond
	longestRewatch = 30 * time.Second
)

// Follow calls changed whenever a write may have mattered to a rollout: the
// share is another, the stamp is, or the object is gone. Writes of status and
// of anybody's metadata do not count. A watch that ends, is compacted away or
// never begins is begun again until ctx ends; it may miss a change then, so
// callers must also look by themselves.
func (o *Object) Follow(ctx context.Context, changed func()) {
	last := ""
	for wait := firstRewatch; ctx.Err() == nil; wait = min(2*wait, longestRewatch) {
		w, err := o.client.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", o.name).String()})
		if err == nil {
			if o.drain(w, &last, changed) {
				wait = firstRewatch
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// drain reads a watch to its end; any reports that it delivered something.
func (o *Object) drain(w watch.Interface, last *string, changed func()) (any bool) {
	defer w.Stop()
	for event := range w.ResultChan() {
		object, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Error {
			return any // compacted, or the server gave up
		}
		any = true
		now := o.sign(object, event.Type)
		if now != *last && *last != "" {
			changed()
		}
		*last = now
	}
	return any
}

// sign is what of an object matters to a rollout, as a comparable text.
func (o *Object) sign(object *unstructured.Unstructured, event watch.EventType) string {
	if event == watch.Deleted {
		return "deleted"
	}
	share, exact, err := o.layout.at(object, rollout.Baseline)
	if err != nil {
		return "unreadable"
	}
	return fmt.Sprint(object.GetUID(), object.GetAnnotations()[StampAnnotation], share, exact)
}
