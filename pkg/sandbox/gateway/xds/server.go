package xds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

const (
	// maxSocketPath is sun_path of sockaddr_un less its final NUL (unix(7)).
	maxSocketPath = 107
	// maxWords bounds, in bytes, what a condition quotes of Envoy's words.
	maxWords = 1000
	// linger is how long a cluster stays after the last route to it is gone:
	// a request keeps the routes it started with.
	linger = time.Minute
	// keepaliveMin must be below the interval at which Envoy pings.
	keepaliveMin = 5 * time.Second
)

// RefusedError is Envoy's NACK of a snapshot; the one before stays in force.
type RefusedError struct {
	Version string
	Message string // Envoy's words
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("push Envoy configuration %s: refused: %s", e.Version, e.Message)
}

// inShort is Envoy's words without the resource that it quotes before them.
func inShort(words string) string {
	const verdict = "Proto constraint validation failed"
	if _, after, found := strings.Cut(words, verdict); found {
		words = verdict + after
	}
	words = strings.TrimSpace(words)
	if len(words) > maxWords { // what is wrong comes last
		words = "…" + strings.ToValidUTF8(words[len(words)-maxWords:], "")
	}
	return words
}

// node is the one Envoy that is served, whatever it calls itself.
type node struct{}

const nodeID = "gateway"

func (node) ID(*corev3.Node) string { return nodeID }

// Server serves one Envoy. Push and Close are for one goroutine.
type Server struct {
	cache   cache.SnapshotCache
	tracker *tracker
	grpc    *grpc.Server
	served  chan error
	cancel  context.CancelFunc
	now     func() time.Time

	good    *Snapshot            // what Envoy last acknowledged, lingering clusters included
	retired map[string]time.Time // lingering cluster → since when
}

// Listen serves delta ADS on a unix socket until Close.
func Listen(ctx context.Context, socket string) (*Server, error) {
	if len(socket) > maxSocketPath {
		return nil, hint.Errorf("put the sandbox's folder somewhere shorter: set XDG_CACHE_HOME",
			"listen on %s: the path has %d bytes, a unix socket's has at most %d", socket, len(socket), maxSocketPath)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old xDS socket: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for Envoy: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Server{
		cache:   cache.NewSnapshotCache(true, node{}, nil),
		tracker: newTracker(),
		grpc: grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: keepaliveMin, PermitWithoutStream: true,
		})),
		served:  make(chan error, 1),
		cancel:  cancel,
		now:     time.Now,
		good:    newSnapshot(),
		retired: map[string]time.Time{},
	}
	callbacks := serverv3.CallbackFuncs{
		StreamDeltaRequestFunc: func(stream int64, request *discoveryv3.DeltaDiscoveryRequest) error {
			s.tracker.asked(stream, request)
			return nil
		},
		StreamDeltaResponseFunc: func(stream int64, _ *discoveryv3.DeltaDiscoveryRequest, response *discoveryv3.DeltaDiscoveryResponse) {
			s.tracker.answered(stream, response)
		},
	}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s.grpc, serverv3.NewServer(ctx, s.cache, callbacks))
	go func() { s.served <- s.grpc.Serve(listener) }()
	return s, nil
}

// Close ends the stream and the server; Envoy keeps what it has.
func (s *Server) Close() {
	s.cancel()
	s.grpc.Stop()
	<-s.served
}

// Lost says that the Envoy is gone: whoever connects next holds nothing. It may
// be called from any goroutine.
func (s *Server) Lost() { s.tracker.lost() }

// Push offers a snapshot and waits until Envoy holds all of it: new clusters
// with their endpoints first, then the routes that name them, so that no
// request meets a route without its cluster. A RefusedError means that Envoy
// refused some of it, and holds the previous one again; ctx ending means that
// it has not answered in time.
func (s *Server) Push(ctx context.Context, snapshot *Snapshot) error {
	full, err := s.withRetired(snapshot)
	if err != nil {
		return err
	}
	steps := []*Snapshot{full}
	if full.addsClusters(s.good) {
		ahead, err := s.good.withClustersOf(full)
		if err != nil {
			return err
		}
		steps = []*Snapshot{ahead, full}
	}
	for _, step := range steps {
		err := s.offer(ctx, step)
		var refused *RefusedError
		if errors.As(err, &refused) {
			refused.Version = snapshot.Version
			if back := s.offer(ctx, s.good); back != nil {
				return fmt.Errorf("%w; and the configuration before it: %w", refused, back)
			}
			return refused
		}
		if err != nil {
			return err
		}
		s.good = step
	}
	return nil
}

// withRetired adds the clusters that no route has needed for less than linger.
func (s *Server) withRetired(snapshot *Snapshot) (*Snapshot, error) {
	now := s.now()
	for name := range s.good.resources[clusterType] {
		_, wanted := snapshot.resources[clusterType][name]
		since, retired := s.retired[name]
		switch {
		case wanted:
			delete(s.retired, name)
		case !retired:
			s.retired[name] = now
		case now.Sub(since) >= linger:
			delete(s.retired, name)
			s.good = s.good.without(name)
		}
	}
	return snapshot.keeping(s.good)
}

func (s *Server) offer(ctx context.Context, snapshot *Snapshot) error {
	cached, err := snapshot.cached()
	if err != nil {
		return fmt.Errorf("build Envoy snapshot: %w", err)
	}
	s.tracker.forget(snapshot.Version)
	if err := s.cache.SetSnapshot(ctx, nodeID, cached); err != nil {
		return fmt.Errorf("set Envoy snapshot: %w", err)
	}
	for {
		acknowledged, refusal, changed := s.tracker.state(cached, snapshot.Version)
		if refusal != "" {
			return &RefusedError{Version: snapshot.Version, Message: inShort(refusal)}
		}
		if acknowledged {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for Envoy to acknowledge %s (%s): %w", snapshot.Version, s.tracker.summary(), ctx.Err())
		}
	}
}
