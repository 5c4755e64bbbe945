package traffic

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// driver is one run.
type driver struct {
	o       Options
	client  *http.Client
	record  *record
	running sync.WaitGroup
	start   time.Time
	ticked  time.Time
	ticker  *time.Ticker
	report  func(Live)
}

// Run drives traffic until the duration is over or ctx ends, then waits for
// the requests in flight: as long as their timeout allows in the first case,
// for Grace in the second, after which they are given up and counted as
// canceled. The end of ctx is not an error. report is called about once a
// second from Run's own goroutine and must not block; it may be nil.
func Run(ctx context.Context, o Options, report func(Live)) (Summary, error) {
	o, err := o.prepare()
	if err != nil {
		return Summary{}, err
	}
	if report == nil {
		report = func(Live) {}
	}
	d := &driver{o: o, client: client(o), record: newRecord(o.Seed), report: report}
	defer d.client.CloseIdleConnections()
	d.start = time.Now()
	d.ticked = d.start
	d.ticker = time.NewTicker(time.Second)
	defer d.ticker.Stop()

	requests, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	d.arrive(ctx, requests)
	arrived := time.Since(d.start)
	d.drain(ctx, giveUp)
	return d.record.finish(arrived), nil
}

// client never follows a redirect, which could lead off the loopback.
func client(o Options) *http.Client {
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{
			MaxIdleConns: o.Concurrency, MaxIdleConnsPerHost: o.Concurrency, MaxConnsPerHost: o.Concurrency,
			IdleConnTimeout: time.Minute, DisableCompression: true,
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// arrive sends requests at their moments until the time is over.
func (d *driver) arrive(ctx, requests context.Context) {
	due := time.NewTimer(0)
	defer due.Stop()
	for plan := newArrivals(d.o); ; {
		a := plan.next()
		last := d.o.Duration > 0 && a.at >= d.o.Duration
		if last {
			a.at = d.o.Duration
		}
		if !d.wait(ctx, due, d.start.Add(a.at)) || last {
			return
		}
		if !d.record.begin(d.o.Concurrency) {
			continue
		}
		d.running.Go(func() { d.record.end(d.do(requests, a)) })
	}
}

// wait returns true at the given moment, false when ctx ends before.
func (d *driver) wait(ctx context.Context, due *time.Timer, at time.Time) bool {
	due.Reset(time.Until(at))
	for {
		select {
		case <-ctx.Done():
			return false
		case now := <-d.ticker.C:
			d.tick(now)
		case <-due.C:
			return ctx.Err() == nil
		}
	}
}

// drain waits for the requests in flight.
func (d *driver) drain(ctx context.Context, giveUp func()) {
	done := make(chan struct{})
	go func() {
		d.running.Wait()
		close(done)
	}()
	ended := ctx.Done()
	var grace <-chan time.Time
	for {
		select {
		case <-done:
			return
		case now := <-d.ticker.C:
			d.tick(now)
		case <-ended:
			ended = nil
			grace = time.After(d.o.Grace)
		case <-grace:
			giveUp()
		}
	}
}

func (d *driver) tick(now time.Time) {
	d.report(d.record.tick(now.Sub(d.start), now.Sub(d.ticked)))
	d.ticked = now
}
