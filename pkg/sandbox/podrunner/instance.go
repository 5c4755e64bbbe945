package podrunner

import (
	"context"
	"net/netip"
	"os"
	"slices"
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
	init       []*container // end, or for sidecars run, one after the other before the rest
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

// begin runs the init containers in order, then the others; none of them when
// an init container fails for good.
func (i *instance) begin() {
	go func() {
		for n, c := range i.init {
			if c.policy == corev1.RestartPolicyAlways { // a sidecar
				go c.keep(i.ctx)
				continue
			}
			if c.keep(i.ctx); !c.succeeded() {
				for _, never := range slices.Concat(i.init[n+1:], i.containers) {
					close(never.done)
				}
				return
			}
		}
		for _, c := range i.containers {
			go c.keep(i.ctx)
		}
	}()
}

// all lists the containers of both kinds.
func (i *instance) all() []*container { return slices.Concat(i.init, i.containers) }

// container finds one by its name; nil if it has no process.
func (i *instance) container(name string) *container {
	for _, c := range i.all() {
		if c.status.Name == name {
			return c
		}
	}
	return nil
}

// stop asks every process to end within grace; it does not wait. A second call
// changes nothing.
func (i *instance) stop(grace time.Duration) {
	for _, c := range i.all() {
		c.setGrace(grace)
	}
	i.cancel()
}

// stopped reports whether every process is gone.
func (i *instance) stopped() bool {
	for _, c := range i.all() {
		select {
		case <-c.done:
		default:
			return false
		}
	}
	return true
}

func (i *instance) wait() {
	for _, c := range i.all() {
		<-c.done
	}
}

// snapshot is the status of the init containers and of the others.
func (i *instance) snapshot() (init, containers []corev1.ContainerStatus) {
	for _, c := range i.init {
		init = append(init, c.snapshot())
	}
	for _, c := range i.containers {
		containers = append(containers, c.snapshot())
	}
	return init, containers
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
