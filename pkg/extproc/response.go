package extproc

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// Short names for the messages of the conversation.
type (
	message = extprocv3.ProcessingRequest
	answer  = extprocv3.ProcessingResponse
)

func headersAnswer(d Decision) *answer {
	return &answer{
		Response: &extprocv3.ProcessingResponse_RequestHeaders{
			RequestHeaders: &extprocv3.HeadersResponse{Response: common(d)},
		},
		DynamicMetadata: dynamicMetadata(d.Metadata),
	}
}

// bodyAnswer lets the body pass. Gateways obey its header mutation in BUFFERED
// only.
func bodyAnswer(d Decision) *answer {
	return &answer{
		Response: &extprocv3.ProcessingResponse_RequestBody{
			RequestBody: &extprocv3.BodyResponse{Response: common(d)},
		},
		DynamicMetadata: dynamicMetadata(d.Metadata),
	}
}

// trailersAnswer removes our headers' names from the trailers, too: a server may
// take trailers for headers (RFC 9110, 6.5.1 lets it merge what it knows).
func trailersAnswer(d Decision) *answer {
	return &answer{
		Response: &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: &extprocv3.TrailersResponse{
			HeaderMutation: &extprocv3.HeaderMutation{RemoveHeaders: header.Owned()},
		}},
		DynamicMetadata: dynamicMetadata(d.Metadata),
	}
}

// pieceAnswer passes part of a full-duplex request body on.
func pieceAnswer(piece []byte, end bool) *answer {
	return &answer{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: streamed(piece, end)}}
}

func responseHeadersAnswer() *answer {
	return &answer{Response: &extprocv3.ProcessingResponse_ResponseHeaders{
		ResponseHeaders: &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{}},
	}}
}

func responseBodyAnswer() *answer {
	return &answer{Response: &extprocv3.ProcessingResponse_ResponseBody{
		ResponseBody: &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{}},
	}}
}

// responsePieceAnswer passes part of a full-duplex response body on.
func responsePieceAnswer(piece []byte, end bool) *answer {
	return &answer{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: streamed(piece, end)}}
}

func responseTrailersAnswer() *answer {
	return &answer{Response: &extprocv3.ProcessingResponse_ResponseTrailers{
		ResponseTrailers: &extprocv3.TrailersResponse{},
	}}
}

// immediateAnswer ends the request here, with our own response.
func immediateAnswer(r *Reject) *answer {
	headers := append([]Header{
		{"content-type", "application/json"},
		{header.RejectReason, r.Reason},
	}, r.Headers...)
	return &answer{Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(r.Status)},
			Headers: &extprocv3.HeaderMutation{SetHeaders: setHeaders(headers)},
			Body:    r.body(),
			Details: r.Reason,
		},
	}}
}

func common(d Decision) *extprocv3.CommonResponse {
	c := &extprocv3.CommonResponse{ClearRouteCache: d.ClearRouteCache}
	if len(d.Set)+len(d.Remove) > 0 {
		c.HeaderMutation = &extprocv3.HeaderMutation{
			SetHeaders:    setHeaders(d.Set),
			RemoveHeaders: d.Remove,
		}
	}
	return c
}

// setHeaders overwrites explicitly: gateways disagree about the default, and one
// that appends would leave the client's value beside ours.
func setHeaders(headers []Header) []*corev3.HeaderValueOption {
	out := make([]*corev3.HeaderValueOption, len(headers))
	for i, h := range headers {
		out[i] = &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: h.Name, RawValue: []byte(h.Value)},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}
	}
	return out
}

func streamed(piece []byte, end bool) *extprocv3.BodyResponse {
	return &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{
		BodyMutation: &extprocv3.BodyMutation{
			Mutation: &extprocv3.BodyMutation_StreamedResponse{
				StreamedResponse: &extprocv3.StreamedBodyResponse{Body: piece, EndOfStream: end},
			},
		},
	}}
}

func dynamicMetadata(data []Metadatum) *structpb.Struct {
	if len(data) == 0 {
		return nil
	}
	namespaces := make(map[string]*structpb.Value, 1)
	for _, m := range data {
		ns := namespaces[m.Namespace]
		if ns == nil {
			ns = structpb.NewStructValue(&structpb.Struct{Fields: make(map[string]*structpb.Value, 1)})
			namespaces[m.Namespace] = ns
		}
		ns.GetStructValue().Fields[m.Key] = structpb.NewStringValue(m.Value)
	}
	return &structpb.Struct{Fields: namespaces}
}
