package extproc_test

import (
	"bytes"
	"testing"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// FuzzConversation plays messages in any order: the first byte chooses the body
// mode, each further byte one message. Whatever comes, nothing panics, answers
// keep their order, full duplex loses no byte, and no memory stays reserved.
func FuzzConversation(f *testing.F) {
	for _, seed := range []string{
		"\x02hb", "\x04hcB", "\x04hcct", "\x04H", "\x02ht", "\x06hcB", "\x04hcBBt", "\x02hBRrr",
		"\x04tbh", "\x01hccBRrrT", "\x00hRT", "\x04hRcB", "\x05h", "\x04hhc", "\x03hcu", "\x14hRrSrT", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, moves []byte) {
		if len(moves) == 0 || len(moves) > 200 {
			return
		}
		budget := extproc.NewBudget(1 << 20)
		p := decide()
		c := extproc.NewConversation(p, 600<<10, budget)
		var log order
		for i, move := range moves[1:] {
			m := play(move)
			if i == 0 && m != nil && moves[0]&0x0f < 6 {
				m = mode(procv3.ProcessingMode_BodySendMode(moves[0]&0x0f), m)
			}
			answers, err := c.Receive(m)
			for _, a := range answers {
				log.note(t, a)
			}
			if err != nil {
				break
			}
			c.Sent()
			if moves[0]&0x10 != 0 && i%3 == 2 {
				c.Yield()
			}
			if c.Closable() && log.headers == 0 && log.response == 0 {
				t.Fatal("closable before any answer")
			}
		}
		if log.ended && !bytes.Equal(log.body, []byte(p.got.String())) {
			t.Fatalf("sent on %d bytes of %d", len(log.body), p.got.Len())
		}
		c.Close(extproc.Finished)
		if budget.Used() != 0 || len(p.ended) != 1 {
			t.Fatalf("%d bytes stay reserved, closed %d times", budget.Used(), len(p.ended))
		}
	})
}

func play(move byte) in {
	switch move {
	case 'h':
		return headers(false)
	case 'H':
		return headers(true)
	case 'l':
		return headers(false, "content-length", "3")
	case 'c':
		return body("chunk", false)
	case 'b':
		return body("", false)
	case 'B':
		return body(string(bytes.Repeat([]byte("B"), 70_000)), true)
	case 't':
		return trailers()
	case 'R':
		return responseHeaders(false)
	case 'S':
		return responseHeaders(true)
	case 'r':
		return responseBody("token", false)
	case 'T':
		return responseTrailers()
	case 'n':
		return nil
	default:
		return in(&extprocv3.ProcessingRequest{})
	}
}

// order checks the answers of one conversation.
type order struct {
	headers, trailers, response int
	body                        []byte
	ended                       bool
}

func (o *order) note(t *testing.T, a *extprocv3.ProcessingResponse) {
	switch r := a.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		if o.headers++; o.headers > 1 {
			t.Fatal("headers answered twice")
		}
	case *extprocv3.ProcessingResponse_RequestBody:
		piece := r.RequestBody.GetResponse().GetBodyMutation().GetStreamedResponse()
		if o.headers == 0 || o.trailers > 0 || o.ended || len(piece.GetBody()) > 62_000 {
			t.Fatalf("body answer out of place after %+v", *o)
		}
		o.body = append(o.body, piece.GetBody()...)
		o.ended = piece.GetEndOfStream()
	case *extprocv3.ProcessingResponse_RequestTrailers:
		if o.trailers++; o.headers == 0 || o.trailers > 1 {
			t.Fatalf("trailers answer out of place after %+v", *o)
		}
	case *extprocv3.ProcessingResponse_ImmediateResponse:
	default:
		o.response++
	}
}
