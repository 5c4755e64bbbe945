package xds

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

// PickerMode is how request and response bodies reach the endpoint picker.
type PickerMode string

const (
	// PickerBuffered sends the whole request body at once and streams a copy of
	// the response: a silent picker is timed out, and its end cuts no response.
	PickerBuffered PickerMode = "buffered"
	// PickerFullDuplex sends and takes back every byte, as providers do. Envoy
	// has no timer for a silent picker in this mode.
	PickerFullDuplex PickerMode = "full-duplex"
)

// Settings is what the proxy does that no Kubernetes object says.
type Settings struct {
	// BodyRouter is the ext_proc server asked about every request first; the
	// zero value leaves that filter out.
	BodyRouter netip.AddrPort
	// BodyRouterTLS dials it with TLS, unverified.
	BodyRouterTLS bool
	// AccessLog is the file that gets a JSON line per request; empty is none.
	AccessLog string
	// PickerMode is PickerBuffered by default.
	PickerMode PickerMode
	// MessageTimeout is how long either ext_proc server may take to answer one
	// message, default 5s.
	MessageTimeout time.Duration
	// BufferLimit is the largest request body in bytes, default 20 MiB; a
	// larger one is answered 413.
	BufferLimit uint32
}

func (s Settings) withDefaults() Settings {
	s.PickerMode = cmp.Or(s.PickerMode, PickerBuffered)
	s.MessageTimeout = cmp.Or(s.MessageTimeout, 5*time.Second)
	s.BufferLimit = cmp.Or(s.BufferLimit, 20<<20)
	return s
}

// Names of the filters, and of the clusters that are always there.
const (
	filterBodyRouter = "body-router"
	filterPicker     = "endpoint-picker"
	clusterBodyRoute = "body-router"
	clusterUnset     = "picker-unset"
	// clusterInvalid never exists: a request sent there is answered 500.
	clusterInvalid = "invalid"
)

// renderer collects resources and the first error in building them.
type renderer struct {
	settings Settings
	backends map[string]translate.Backend
	err      error
}

// Render builds the Envoy resources of an IR. Equal arguments give a Snapshot
// of equal Version.
func Render(ir translate.IR, settings Settings) (*Snapshot, error) {
	r := &renderer{settings: settings.withDefaults(), backends: map[string]translate.Backend{}}
	snapshot := newSnapshot()
	clusters := []types.Resource{r.staticCluster(clusterUnset)}
	if s := r.settings.BodyRouter; s.IsValid() {
		c := r.staticCluster(clusterBodyRoute, s)
		if r.settings.BodyRouterTLS {
			c.TransportSocket = r.unverifiedTLS()
		}
		clusters = append(clusters, c)
	}
	for _, b := range ir.Backends {
		r.backends[b.Name] = b
		clusters = append(clusters, r.backendCluster(b))
		snapshot.add(endpointType, loadAssignment(clusterName(b), b.Endpoints))
		// Two backends may share a picker: one pool under two policies.
		if b.Picker != nil && snapshot.resources[endpointType][pickerClusterName(*b.Picker)] == nil {
			clusters = append(clusters, r.pickerCluster(*b.Picker))
			snapshot.add(endpointType, loadAssignment(pickerClusterName(*b.Picker), b.Picker.Endpoints))
		}
	}
	snapshot.add(clusterType, clusters...)
	for _, l := range ir.Listeners {
		snapshot.add(listenerType, r.listener(l))
		snapshot.add(routeType, r.routeConfiguration(l))
	}
	if r.err != nil {
		return nil, fmt.Errorf("render Envoy configuration: %w", r.err)
	}
	return snapshot, snapshot.seal()
}

// pack wraps a message as Envoy's typed configuration.
func (r *renderer) pack(m proto.Message) *anypb.Any {
	packed, err := packAny(m)
	if err != nil && r.err == nil {
		r.err = err
	}
	return packed
}

func packAny(m proto.Message) (*anypb.Any, error) {
	packed := &anypb.Any{}
	return packed, anypb.MarshalFrom(packed, m, proto.MarshalOptions{Deterministic: true})
}
