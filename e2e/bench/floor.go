package main

import (
	"context"
	"net"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
)

// floor is the least a grpc-go ext_proc server can do: it decides nothing, and
// sends back what full duplex obliges it to.
type floor struct {
	extprocv3.UnimplementedExternalProcessorServer
}

// serveFloor serves on address until ctx ends.
func serveFloor(ctx context.Context, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	extprocv3.RegisterExternalProcessorServer(server, floor{})
	defer context.AfterFunc(ctx, server.Stop)()
	return server.Serve(listener)
}

// Process implements the ext_proc service.
func (floor) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	duplex := false
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if config := m.GetProtocolConfig(); config != nil {
			duplex = config.GetRequestBodyMode() == procv3.ProcessingMode_FULL_DUPLEX_STREAMED
		}
		if err := stream.Send(emptyAnswer(m, duplex)); err != nil {
			return err
		}
	}
}

func emptyAnswer(m *extprocv3.ProcessingRequest, duplex bool) *extprocv3.ProcessingResponse {
	empty := &extprocv3.CommonResponse{}
	a := &extprocv3.ProcessingResponse{}
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		a.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{Response: empty}}
	case *extprocv3.ProcessingRequest_RequestBody:
		if duplex {
			empty.BodyMutation = &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
				StreamedResponse: &extprocv3.StreamedBodyResponse{
					Body: r.RequestBody.GetBody(), EndOfStream: r.RequestBody.GetEndOfStream(),
				},
			}}
		}
		a.Response = &extprocv3.ProcessingResponse_RequestBody{RequestBody: &extprocv3.BodyResponse{Response: empty}}
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		a.Response = &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{Response: empty}}
	case *extprocv3.ProcessingRequest_ResponseBody:
		a.Response = &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: &extprocv3.BodyResponse{Response: empty}}
	}
	return a
}
