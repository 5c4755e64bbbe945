package podrunner

import "time"

const (
	backoffFirst  = time.Second
	backoffMost   = 30 * time.Second
	backoffForget = 60 * time.Second
)

// backoff is the wait before a restart: doubled each time, and forgotten after
// a run that lasted.
type backoff struct{ last time.Duration }

func (b *backoff) next(ran time.Duration) time.Duration {
	switch {
	case b.last == 0 || ran >= backoffForget:
		b.last = backoffFirst
	default:
		b.last = min(2*b.last, backoffMost)
	}
	return b.last
}
