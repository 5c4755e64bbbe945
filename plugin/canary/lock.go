package canary

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

const (
	// leasePoll is the time between two looks at a lease, a journal or a
	// request that somebody else must move.
	leasePoll = 200 * time.Millisecond
	// releaseLimit bounds the last call of a process that was told to end.
	releaseLimit = 2 * time.Second
)

// lockFlags say how the lease beside the journal is kept.
type lockFlags struct{ period time.Duration }

func (f *lockFlags) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.period, "lease-duration", journal.DefaultLeasePeriod,
		"how long the lease must stand still before another process may take over; renewed every fifth of it; whole seconds")
}

func (f *lockFlags) check() error {
	if f.period < time.Second || f.period%time.Second != 0 {
		return exit.With(exit.Usage, hint.Errorf("--lease-duration 15s", "lease duration %v is not a whole number of seconds, at least one", f.period))
	}
	return nil
}

// lease is the target's lease, for a holder no other process is called.
func (f *lockFlags) lease(clients *kube.Clients, o object) *journal.Lease {
	return journal.NewLease(clients.Core, clients.Namespace, o.Name, o.name, holder()+" "+uuid.NewString()[:8], f.period)
}

// acquire takes the lease, or says who holds it.
func acquire(ctx context.Context, lease *journal.Lease, o object, report *reporter) error {
	for told := false; ; {
		verdict, holder, err := lease.Try(ctx, false)
		switch {
		case ctx.Err() != nil:
			return exit.With(exit.Interrupted, fmt.Errorf("%s: interrupted before anything moved", o))
		case err != nil:
			return err
		case verdict == rollout.LeaseFree:
			return nil
		case verdict == rollout.LeaseHeld:
			return exit.With(exit.LockHeld, hint.Errorf("kubectl infer canary status "+o.String()+"   # or, to end it: canary abort",
				"%s: another process drives this rollout: %s", o, holder))
		}
		if !told && holder != "" {
			told = true
			report.line("lock", fmt.Sprintf("held by %s; going on if it is not renewed within its period", holder))
		}
		pause(ctx)
	}
}

// pause is the time between two looks.
func pause(ctx context.Context) { systemClock{}.Wait(ctx, leasePoll) }

// release gives the lease up, so that nobody has to wait for it.
func release(ctx context.Context, lease *journal.Lease, report *reporter) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
	defer cancel()
	if err := lease.Release(ctx); err != nil {
		report.line("lock", err.Error())
	}
}
