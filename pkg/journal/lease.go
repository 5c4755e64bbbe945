package journal

import (
	"context"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// DefaultLeasePeriod is how long a lease must stand still before its holder
// counts as dead.
const DefaultLeasePeriod = 15 * time.Second

// Lease is the lock beside a journal: who is at work on the rollout. It decides
// who should write; the stamp on the target decides who can.
type Lease struct {
	client typedcoordinationv1.LeaseInterface
	name   string
	holder string
	period time.Duration
	judge  rollout.LeaseJudge // used by the goroutine that tries

	mu      sync.Mutex
	seen    *coordinationv1.Lease
	renewed time.Time // when the last successful renewal was sent
	lost    string    // who holds it instead of us
	stop    context.CancelFunc
	done    chan struct{}
}

// NewLease is the lease of the target kind/name for holder, a name unique to
// this process.
func NewLease(core kubernetes.Interface, namespace, kind, name, holder string, period time.Duration) *Lease {
	return &Lease{client: core.CoordinationV1().Leases(namespace), name: Name(kind, name), holder: holder, period: period}
}

// Look reads the lease once, and writes nothing. Called again and again, it
// tells a living holder (LeaseHeld, as soon as one renewal was seen) from a
// dead one (LeaseFree after one period without a renewal).
func (l *Lease) Look(ctx context.Context) (verdict rollout.LeaseVerdict, holder string, err error) {
	_, verdict, holder, err = l.look(ctx)
	return verdict, holder, err
}

func (l *Lease) look(ctx context.Context) (found *coordinationv1.Lease, verdict rollout.LeaseVerdict, holder string, err error) {
	found, err = l.client.Get(ctx, l.name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, rollout.LeaseUnknown, "", fmt.Errorf("get lease %s: %w", l.name, err)
	}
	if err != nil {
		found = nil
	}
	view := viewOf(found)
	l.judge, verdict = l.judge.See(time.Now(), l.holder, view)
	return found, verdict, view.Holder, nil
}

// Try is Look, and takes the lease if it is free, or from anybody with force.
// LeaseFree means that it is ours now.
func (l *Lease) Try(ctx context.Context, force bool) (verdict rollout.LeaseVerdict, holder string, err error) {
	found, verdict, holder, err := l.look(ctx)
	if err != nil || (verdict != rollout.LeaseFree && !force) {
		return verdict, holder, err
	}
	err = l.write(ctx, found)
	switch {
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		return rollout.LeaseUnknown, holder, nil // somebody was faster: look again
	case err != nil:
		return rollout.LeaseUnknown, holder, fmt.Errorf("take lease %s: %w", l.name, err)
	}
	return rollout.LeaseFree, "", nil
}

func viewOf(found *coordinationv1.Lease) rollout.LeaseView {
	if found == nil || found.Spec.HolderIdentity == nil {
		return rollout.LeaseView{}
	}
	view := rollout.LeaseView{Holder: *found.Spec.HolderIdentity, Version: found.ResourceVersion, Period: DefaultLeasePeriod}
	if s := found.Spec.LeaseDurationSeconds; s != nil {
		view.Period = time.Duration(*s) * time.Second
	}
	return view
}

// write makes us the holder of found, which is nil when there is no object.
func (l *Lease) write(ctx context.Context, found *coordinationv1.Lease) error {
	sent := time.Now()
	now, seconds := metav1.NewMicroTime(sent), int32(l.period/time.Second)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name, Labels: map[string]string{ManagedBy: Manager}}}
	if found != nil {
		lease = found.DeepCopy()
	}
	spec := &lease.Spec
	if spec.HolderIdentity == nil || *spec.HolderIdentity != l.holder {
		n := int32(1)
		if spec.LeaseTransitions != nil {
			n += *spec.LeaseTransitions
		}
		spec.LeaseTransitions, spec.AcquireTime = &n, &now
	}
	spec.HolderIdentity, spec.LeaseDurationSeconds, spec.RenewTime = &l.holder, &seconds, &now
	var err error
	if found == nil {
		lease, err = l.client.Create(ctx, lease, metav1.CreateOptions{FieldManager: Manager})
	} else {
		lease, err = l.client.Update(ctx, lease, metav1.UpdateOptions{FieldManager: Manager})
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.renewed = lease, sent
	return nil
}

// Keep renews a lease that was taken, until Release.
func (l *Lease) Keep(ctx context.Context) {
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.done = make(chan struct{})
	every := rollout.RenewEvery(l.period)
	go func() {
		defer close(l.done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if l.renew(ctx) {
				return
			}
		}
	}()
}

// renew writes once; lost reports that the lease is another's now. Any other
// trouble shows in Check, as a renewal that is too old.
func (l *Lease) renew(ctx context.Context) (lost bool) {
	ctx, cancel := context.WithTimeout(ctx, max(rollout.RenewEvery(l.period), time.Second))
	defer cancel()
	l.mu.Lock()
	seen := l.seen
	l.mu.Unlock()
	err := l.write(ctx, seen)
	if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return false
	}
	found, err := l.client.Get(ctx, l.name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return false
	}
	holder := "nobody: it was deleted or released"
	if err == nil && found.Spec.HolderIdentity != nil && *found.Spec.HolderIdentity != "" {
		holder = *found.Spec.HolderIdentity
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if holder == l.holder {
		l.seen = found // somebody touched the object, or our last answer was lost
		return false
	}
	l.lost = holder
	return true
}

// Check implements rollout.Lock.
func (l *Lease) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.lost != "":
		return fmt.Errorf("lease %s is held by %s: %w", l.name, l.lost, rollout.ErrSuperseded)
	case !rollout.Fresh(time.Now(), l.renewed, l.period):
		return fmt.Errorf("lease %s: %w", l.name, rollout.ErrUnlocked)
	}
	return nil
}

// Release stops renewing and gives the lease up, so that the next process need
// not wait. It is safe to call on a lease that was never taken.
func (l *Lease) Release(ctx context.Context) error {
	if l.stop != nil {
		l.stop()
		<-l.done
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || l.lost != "" {
		return nil
	}
	nobody := ""
	for lease := l.seen.DeepCopy(); *lease.Spec.HolderIdentity == l.holder; {
		lease.Spec.HolderIdentity = &nobody
		_, err := l.client.Update(ctx, lease, metav1.UpdateOptions{FieldManager: Manager})
		if apierrors.IsConflict(err) { // our last renewal may have gone through unanswered
			lease, err = l.client.Get(ctx, l.name, metav1.GetOptions{})
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("release lease %s: %w", l.name, err)
		}
		if lease.Spec.HolderIdentity == nil {
			return nil
		}
	}
	return nil
}
