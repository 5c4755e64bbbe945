package dataplane

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// refuser is an ext_proc server that answers every request itself.
type refuser struct {
	procv3.UnimplementedExternalProcessorServer
	headers map[string]string
}

func (r refuser) Process(stream procv3.ExternalProcessor_ProcessServer) error {
	request, err := stream.Recv()
	if err != nil || request.GetRequestHeaders() == nil {
		return err // Envoy shows it the body router's refusals too
	}
	answer := &procv3.ImmediateResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode_TooManyRequests}, Headers: &procv3.HeaderMutation{}, Body: []byte(`{}`),
	}
	for name, value := range r.headers {
		answer.Headers.SetHeaders = append(answer.Headers.SetHeaders, &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: name, RawValue: []byte(value)}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return stream.Send(&procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: answer}})
}

func TestARefusalKeepsItsReasonAndNothingElseOfTheServers(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	_, refusing := serveExtProc(t, refuser{headers: map[string]string{
		"content-type": "application/json", header.RejectReason: "busy", "retry-after": "1", "x-other": "x", "set-cookie": "a=b",
	}})
	a := pool("a", nil, false, startUpstream(t))
	a.Picker.Endpoints = []netip.AddrPort{refusing}
	r.push([]translate.Backend{a}, member(a, 1))
	for _, row := range []struct {
		rule, body string
		want       string
	}{
		{"the picker's refusal", chat, `429 ["application/json"] ["busy"] ["1"] [] []`},
		{"the body router's refusal", `{"model":1}`, `400 ["application/json"] ["model_not_string"] [] [] []`},
	} {
		response, err := r.client.Post(r.url("/v1/completions"), "application/json", strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		h := response.Header
		got := fmt.Sprintf("%d %q %q %q %q %q", response.StatusCode, h.Values("Content-Type"), h.Values(header.RejectReason),
			h.Values("Retry-After"), h.Values("X-Other"), h.Values("Set-Cookie"))
		if got != row.want {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.want)
		}
	}
}
