package gate

import (
	"fmt"
	"time"
)

// Life is what is known of one arm without statistics, carried from look to
// look. The zero value has never been seen.
type Life struct {
	Ready    int // endpoints ready now
	Restarts int // container restarts since the step began
	Running  int // requests running at the last scrape
	// Unanswered says that a second source, such as the model servers themselves,
	// saw requests running on the arm and none of them answered, for as long as a
	// hang takes (see HealthLimits.Hang).
	Unanswered bool

	Scraped  time.Time // last scrape that worked, or when watching began
	Progress time.Time // last scrape that showed a completion, a first token or a token
	Busy     time.Time // since when requests are running without a break; zero when none are
}

// Glance is one attempt to look at an arm.
type Glance struct {
	At       time.Time
	Scraped  bool // the arm's metrics were read; else Running and Progress mean nothing
	Running  int  // requests running
	Progress bool // completions, first tokens or tokens since the previous scrape
}

// Look returns the life after a glance. Ready, Restarts and Unanswered have
// other sources and stay as they are.
func (l Life) Look(g Glance) Life {
	if l.Scraped.IsZero() {
		l.Scraped = g.At // the limits count from the first look
	}
	if !g.Scraped {
		return l
	}
	l.Scraped, l.Running = g.At, g.Running
	if g.Progress {
		l.Progress = g.At
	}
	switch {
	case g.Running == 0:
		l.Busy = time.Time{}
	case l.Busy.IsZero():
		l.Busy = g.At
	}
	return l
}

// Stalled is how long requests were seen running without any progress, up to
// the last scrape: what could not be seen is no stall.
func (l Life) Stalled() time.Duration {
	if l.Busy.IsZero() {
		return 0
	}
	since := l.Busy
	if l.Progress.After(since) {
		since = l.Progress
	}
	return l.Scraped.Sub(since)
}

// Bounds of the health gates; the larger of each and three scrapes holds.
const (
	StallFloor  = 30 * time.Second // running requests without progress
	SilentFloor = 10 * time.Second // metrics that cannot be read
	scrapes     = 3
	ttftMargin  = 3 // times stable's p99 TTFT without progress
)

// HealthLimits are the plan's part of the health gates.
type HealthLimits struct {
	ScrapeInterval time.Duration
	MaxRestarts    int // canary container restarts tolerated in a step
}

// Hang is how long requests may run without any progress; ttft is stable's p99,
// 0 for not known.
func (l HealthLimits) Hang(ttft time.Duration) time.Duration {
	return max(StallFloor, scrapes*l.ScrapeInterval, ttftMargin*ttft)
}

// HealthObservation is both arms at one moment.
type HealthObservation struct {
	Now            time.Time
	Canary, Stable Life
	StableTTFT     time.Duration // stable's p99, when last known; 0 for not known
}

// CheckHealth applies the health gates, which need no statistics: Fail for a
// canary that is dead, restarting, hung, or silent while a second source
// agrees; Blind when both arms are silent or have no ready endpoint, or the
// canary is silent and nothing else speaks against it; Pass otherwise. The
// second result says why, and is empty for Pass.
//
// A stall is blamed on the canary when stable moved on meanwhile. A stable
// without requests (all traffic is on the canary) cannot move on; then its
// known TTFT must have been exceeded.
func CheckHealth(limits HealthLimits, o HealthObservation) (Verdict, string) {
	c, s := o.Canary, o.Stable
	patience := max(SilentFloor, scrapes*limits.ScrapeInterval)
	silent := o.Now.Sub(c.Scraped) >= patience
	stableSilent := o.Now.Sub(s.Scraped) >= patience
	switch {
	case c.Ready == 0 && s.Ready == 0:
		return Blind, "neither arm has a ready endpoint"
	case c.Ready == 0:
		return Fail, "the canary has no ready endpoint"
	case c.Restarts > limits.MaxRestarts:
		return Fail, fmt.Sprintf("canary containers restarted %d times in this step, allowed are %d", c.Restarts, limits.MaxRestarts)
	case silent && stableSilent:
		return Blind, fmt.Sprintf("the metrics of both arms could not be read for %v", shorter(o.Now, c.Scraped, s.Scraped))
	case silent && c.Restarts > 0:
		return Fail, fmt.Sprintf("the canary's metrics could not be read for %v, and its containers restarted", age(o.Now, c.Scraped))
	case silent && c.Unanswered:
		return Fail, fmt.Sprintf("the canary's metrics could not be read for %v, and it answers no request", age(o.Now, c.Scraped))
	case silent:
		return Blind, fmt.Sprintf("the canary's metrics could not be read for %v, but its endpoints are ready", age(o.Now, c.Scraped))
	}
	return checkStall(limits, o)
}

func checkStall(limits HealthLimits, o HealthObservation) (Verdict, string) {
	stall := o.Canary.Stalled()
	if stall < limits.Hang(o.StableTTFT) {
		return Pass, ""
	}
	moved := o.Stable.Progress.After(o.Canary.Scraped.Add(-stall))
	idle := o.Stable.Running == 0 && o.StableTTFT > 0
	if !moved && !idle {
		return Pass, "" // both stand still: no word against the canary
	}
	return Fail, fmt.Sprintf("the canary has %d requests running and made no progress for %v",
		o.Canary.Running, stall.Round(time.Second))
}

func age(now, then time.Time) time.Duration { return now.Sub(then).Round(time.Second) }

func shorter(now, a, b time.Time) time.Duration { return min(age(now, a), age(now, b)) }
