package podrunner

import (
	"context"
	"net/netip"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// instance is one Pod that has been given an address and processes. Its fields
// are set before begin and, apart from tokenAt, never after; tokenAt belongs to
// the queue's worker that holds the Pod's key.
type instance struct {
	uid        types.UID
	dir        string
	kubeconfig string // "" when the Pod gets no token
	tokenAt    time.Time
	address    netip.Addr
	ip         string
	containers []*container

	ctx    context.Context
	cancel context.CancelFunc
}

// newInstance makes a Pod that ends by stop, which gives it its grace, and not
// by the end of ctx.
func newInstance(ctx context.Context, uid types.UID, dir string) *instance {
	i := &instance{uid: uid, dir: dir}
	i.ctx, i.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return i
}

func (i *instance) begin() {
	for _, c := range i.containers {
		go c.run(i.ctx)
	}
}

// stop asks every process to end within grace; it does not wait. A second call
// changes nothing.
func (i *instance) stop(grace time.Duration) {
	for _, c := range i.containers {
		c.setGrace(grace)
	}
	i.cancel()
}

// stopped reports whether every process is gone.
func (i *instance) stopped() bool {
	for _, c := range i.containers {
		select {
		case <-c.done:
		default:
			return false
		}
	}
	return true
}

func (i *instance) wait() {
	for _, c := range i.containers {
		<-c.done
	}
}

func (i *instance) snapshot() []corev1.ContainerStatus {
	statuses := make([]corev1.ContainerStatus, len(i.containers))
	for n, c := range i.containers {
		statuses[n] = c.snapshot()
	}
	return statuses
}

func (r *Runner) instance(key types.NamespacedName) *instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.instances[key]
}

// cleanUp forgets an instance whose processes are gone.
func (r *Runner) cleanUp(key types.NamespacedName, i *instance) {
	r.mu.Lock()
	delete(r.instances, key)
	r.mu.Unlock()
	r.addresses.release(i.address)
	r.forget(i.uid)
	if err := os.RemoveAll(i.dir); err != nil {
		r.log.Warn("folder not removed", "pod", key.String(), "error", err)
	}
}
