package extproc

import (
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stream pumps one conversation. Its pump goroutine receives, asks and sends;
// the gRPC handler's goroutine watches the clock and the drain. They share the
// conversation under mu, and sends happen under mu too.
type stream struct {
	server *Server
	grpc   extprocv3.ExternalProcessor_ProcessServer

	mu       sync.Mutex
	conv     *Conversation
	started  time.Time // of the request body
	heard    time.Time // last message
	finished bool
}

// Process implements the ext_proc service. Returning ends the stream, which also
// ends the pump.
func (s *Server) Process(g extprocv3.ExternalProcessor_ProcessServer) error {
	s.streams.Add(1)
	defer s.streams.Add(-1)
	now := time.Now()
	s.newest.Store(now.UnixNano())
	st := &stream{
		server: s, grpc: g, started: now, heard: now,
		conv: NewConversation(s.open(g.Context()), s.opts.MaxBodyBytes, s.budget),
	}
	ended := make(chan error, 1)
	go func() { ended <- st.pump() }()
	return st.watch(ended)
}

// watch returns when the pump ends, the body is late, or a drain may close the
// stream.
func (st *stream) watch(ended <-chan error) error {
	timer := time.NewTimer(min(st.server.opts.BodyIdleTimeout, st.server.opts.BodyTimeout))
	defer timer.Stop()
	draining := st.server.draining
	for {
		select {
		case err := <-ended:
			return err
		case <-timer.C:
			next, over, err := st.checkTime(time.Now())
			if over {
				return err
			}
			timer.Reset(next)
		case <-draining:
			if st.closeIdle() {
				return nil
			}
			draining = nil // the pump looks again after each message
		}
	}
}

// pump ends with the stream's status. A panic costs its own stream only.
func (st *stream) pump() (err error) {
	defer func() {
		if r := recover(); r != nil {
			st.server.log.Error("request handler panicked", "panic", r, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "internal error")
			st.finish(Aborted)
		}
	}()
	for {
		m, err := st.grpc.Recv()
		if err != nil {
			return st.lost(err)
		}
		if over, err := st.handle(m); over {
			return err
		}
	}
}

// handle answers one message and says whether the stream is over.
func (st *stream) handle(m *message) (over bool, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.finished {
		return true, nil
	}
	st.heard = time.Now()
	answers, err := st.conv.Receive(m)
	if err == nil {
		err = st.send(answers)
	}
	switch {
	case err != nil:
		st.end(Aborted)
		return true, err
	case st.conv.Done():
		st.end(Rejected)
		return true, nil
	case st.server.isDraining() && st.conv.Closable():
		st.end(Drained)
		return true, nil
	}
	return false, nil
}

func (st *stream) send(answers []*answer) error {
	for _, a := range answers {
		if err := st.grpc.Send(a); err != nil {
			return err
		}
	}
	st.conv.Sent()
	return nil
}

// lost ends a stream that the gateway has left. A half-close inside a request is
// not answered with OK, or the request could go on undecided.
func (st *stream) lost(err error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	unanswered, _ := st.conv.Awaiting()
	st.end(Finished)
	switch {
	case !errors.Is(err, io.EOF):
		return err
	case unanswered:
		return status.Error(codes.Aborted, "stream ended inside the request")
	default:
		return nil
	}
}

// checkTime returns how long to wait before looking again; over ends the stream.
//
// Only full duplex can be late: elsewhere the gateway buffers, an upgrade or an
// empty body with trailers never sends the body message, and an answer out of
// turn would cut it. There, only the reserved memory is given back.
func (st *stream) checkTime(now time.Time) (next time.Duration, over bool, err error) {
	const never = 24 * time.Hour
	st.mu.Lock()
	defer st.mu.Unlock()
	waiting, pieces := st.conv.Awaiting()
	if st.finished || !waiting {
		return never, false, nil
	}
	late := st.started.Add(st.server.opts.BodyTimeout)
	if idle := st.heard.Add(st.server.opts.BodyIdleTimeout); pieces && idle.Before(late) {
		late = idle
	}
	if left := late.Sub(now); left > 0 {
		return left, false, nil
	}
	if !pieces {
		st.conv.Yield()
		return never, false, nil
	}
	err = st.send(st.conv.Expire())
	st.end(Rejected)
	return 0, true, err
}

func (st *stream) closeIdle() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.finished || !st.conv.Closable() {
		return false
	}
	st.end(Drained)
	return true
}

func (st *stream) finish(e Ending) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.end(e)
}

// end closes the conversation; mu is held.
func (st *stream) end(e Ending) {
	if !st.finished {
		st.finished = true
		st.conv.Close(e)
	}
}

// isDraining reports whether the drain window is over.
func (s *Server) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}
