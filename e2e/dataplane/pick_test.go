package dataplane

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

const maxMessage = 32 << 20

// picker is an endpoint picker that goes round its endpoints and counts.
type picker struct {
	procv3.UnimplementedExternalProcessorServer
	address   netip.AddrPort
	server    *grpc.Server
	endpoints []*upstream
	next      atomic.Int64

	asked  atomic.Int64 // picks made
	agreed atomic.Int64 // answers served by the endpoint that was picked
	wrong  atomic.Int64 // answers served by another
	open   atomic.Int64 // streams
	silent atomic.Bool  // answer nothing from now on
	drain  chan struct{}
	once   sync.Once
}

func startPicker(t *testing.T, endpoints ...*upstream) *picker {
	t.Helper()
	p := &picker{endpoints: endpoints, drain: make(chan struct{})}
	p.server, p.address = serveExtProc(t, p)
	return p
}

func serveExtProc(t *testing.T, p procv3.ExternalProcessorServer) (*grpc.Server, netip.AddrPort) {
	t.Helper()
	l := listen(t)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	procv3.RegisterExternalProcessorServer(server, p)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
	return server, addressOf(l)
}

// leave does what a picker must do on SIGTERM: it ends its streams with OK.
func (p *picker) leave() {
	p.once.Do(func() { close(p.drain) })
	p.server.GracefulStop()
}

// die is a SIGKILL: connections are closed with no word.
func (p *picker) die() { p.server.Stop() }

// Process reads in a goroutine so that a drain ends the stream at once.
func (p *picker) Process(stream procv3.ExternalProcessor_ProcessServer) error {
	p.open.Add(1)
	defer p.open.Add(-1)
	requests := make(chan *procv3.ProcessingRequest)
	go func() {
		defer close(requests)
		for {
			request, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case requests <- request:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	picked := ""
	for {
		select {
		case <-p.drain:
			return nil
		case request, more := <-requests:
			if !more {
				return nil
			}
			if p.silent.Load() {
				continue
			}
			if err := stream.Send(p.answer(request, &picked)); err != nil {
				return err
			}
		}
	}
}

func (p *picker) answer(request *procv3.ProcessingRequest, picked *string) *procv3.ProcessingResponse {
	switch m := request.Request.(type) {
	case *procv3.ProcessingRequest_RequestHeaders:
		if !m.RequestHeaders.EndOfStream {
			return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_RequestHeaders{RequestHeaders: &procv3.HeadersResponse{}}}
		}
		common, metadata := p.pick(picked)
		return &procv3.ProcessingResponse{DynamicMetadata: metadata, Response: &procv3.ProcessingResponse_RequestHeaders{
			RequestHeaders: &procv3.HeadersResponse{Response: common},
		}}
	case *procv3.ProcessingRequest_RequestBody:
		common, metadata := p.pick(picked)
		return &procv3.ProcessingResponse{DynamicMetadata: metadata, Response: &procv3.ProcessingResponse_RequestBody{
			RequestBody: &procv3.BodyResponse{Response: common},
		}}
	case *procv3.ProcessingRequest_ResponseHeaders:
		served := request.GetMetadataContext().GetFilterMetadata()[header.MetadataNamespace].GetFields()[header.DestinationEndpointServed].GetStringValue()
		if served == *picked {
			p.agreed.Add(1)
		} else {
			p.wrong.Add(1)
		}
		return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &procv3.HeadersResponse{}}}
	case *procv3.ProcessingRequest_ResponseBody:
		return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_ResponseBody{ResponseBody: &procv3.BodyResponse{}}}
	case *procv3.ProcessingRequest_ResponseTrailers:
		return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &procv3.TrailersResponse{}}}
	default:
		return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_RequestTrailers{RequestTrailers: &procv3.TrailersResponse{}}}
	}
}

func (p *picker) pick(picked *string) (*procv3.CommonResponse, *structpb.Struct) {
	p.asked.Add(1)
	u := p.endpoints[int(p.next.Add(1))%len(p.endpoints)]
	*picked = u.address.String()
	value := structpb.NewStringValue(*picked)
	metadata := &structpb.Struct{Fields: map[string]*structpb.Value{
		header.MetadataNamespace: structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			header.DestinationEndpoint: value,
		}}),
	}}
	return setHeader(header.DestinationEndpoint, *picked), metadata
}

func setHeader(name, value string) *procv3.CommonResponse {
	return &procv3.CommonResponse{HeaderMutation: &procv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{
		Header:       &corev3.HeaderValue{Key: strings.ToLower(name), RawValue: []byte(value)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}}}
}
