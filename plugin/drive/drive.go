// Package drive is what every process needs that drives a run, canary or
// mirror, beside the engine: a name, the lease, and a clock. The lease is one
// for each target, so that one run at a time moves it.
package drive

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
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
	// ReleaseLimit bounds the last call of a process that was told to end.
	ReleaseLimit = 2 * time.Second
)

// Person names the user to people who find their work.
func Person() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	return name + "@" + host
}

// Holder names this process.
func Holder() string { return fmt.Sprintf("%s (pid %d)", Person(), os.Getpid()) }

// Say tells people something, under a word.
type Say func(word, text string)

// Lock says how the lease beside the journal is kept.
type Lock struct{ Period time.Duration }

// Add defines the flag.
func (l *Lock) Add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&l.Period, "lease-duration", journal.DefaultLeasePeriod,
		"how long the lease must stand still before another process may take over; renewed every fifth of it; whole seconds")
}

// Check refuses a period that a Lease cannot hold.
func (l *Lock) Check() error {
	if l.Period < time.Second || l.Period%time.Second != 0 {
		return exit.With(exit.Usage, hint.Errorf("--lease-duration 15s", "lease duration %v is not a whole number of seconds, at least one", l.Period))
	}
	return nil
}

// Lease is the target's lease, for a holder no other process is called.
func (l *Lock) Lease(clients *kube.Clients, kind, name string) *journal.Lease {
	return journal.NewLease(clients.Core, clients.Namespace, kind, name, Holder()+" "+uuid.NewString()[:8], l.Period)
}

// Acquire takes the lease of target (TYPE/NAME), or says who holds it.
func Acquire(ctx context.Context, lease *journal.Lease, target string, say Say) error {
	for told := false; ; {
		verdict, holder, err := lease.Try(ctx, false)
		switch {
		case ctx.Err() != nil:
			return exit.With(exit.Interrupted, fmt.Errorf("%s: interrupted before anything moved", target))
		case err != nil:
			return err
		case verdict == rollout.LeaseFree:
			return nil
		case verdict == rollout.LeaseHeld:
			return exit.With(exit.LockHeld, hint.Errorf("kubectl infer canary status "+target+"   # or, to end it: canary abort, mirror stop",
				"%s: another process drives this rollout: %s", target, holder))
		}
		if !told && holder != "" {
			told = true
			say("lock", fmt.Sprintf("held by %s; going on if it is not renewed within its period", holder))
		}
		Pause(ctx)
	}
}

// Seize waits until the lease is ours: the run that was asked let it go, or did
// not renew it for a period. With force it does not wait. Errors are told to
// trouble and tried again.
func Seize(ctx context.Context, lease *journal.Lease, target string, force bool, say, trouble Say) error {
	for told := ""; ; {
		verdict, holder, err := lease.Try(ctx, force)
		switch {
		case ctx.Err() != nil:
			return exit.With(exit.Interrupted, fmt.Errorf("%s: interrupted while waiting for %s", target, holder))
		case err != nil:
			trouble("retrying", err.Error())
		case verdict == rollout.LeaseFree:
			lease.Keep(ctx)
			return nil
		}
		text := map[rollout.LeaseVerdict]string{
			rollout.LeaseHeld:    holder + " is alive and was asked",
			rollout.LeaseUnknown: "waiting for " + holder + ", or for its lease to run out",
		}[verdict]
		if told == "" || (verdict == rollout.LeaseHeld && told != text) {
			told = text
			say("lock", text)
		}
		Pause(ctx)
	}
}

// Pause is the time between two looks.
func Pause(ctx context.Context) { Clock{}.Wait(ctx, leasePoll) }

// Release gives the lease up, so that nobody has to wait for it.
func Release(ctx context.Context, lease *journal.Lease, say Say) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ReleaseLimit)
	defer cancel()
	if err := lease.Release(ctx); err != nil {
		say("lock", err.Error())
	}
}

// Table aligns columns by two spaces, counting characters.
func Table(out io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
		}
		fmt.Fprintln(out, strings.TrimRight(b.String(), " "))
	}
}
