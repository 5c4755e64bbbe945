package dataplane

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// unsized hides a body's length, so that it is sent in chunks.
type unsized struct{ io.Reader }

// chatOf is a request body of exactly size bytes that names a model. Its filling
// repeats at a prime distance, so that pieces in a wrong order show.
func chatOf(size int) []byte {
	const head, tail, distance = `{"model":"m","p":"`, `"}`, 4093
	random := rand.New(rand.NewPCG(1, 2))
	block := make([]byte, distance)
	for i := range block {
		block[i] = 'a' + byte(random.IntN(26))
	}
	filling := size - len(head) - len(tail)
	body := append([]byte(head), bytes.Repeat(block, filling/distance+1)[:filling]...)
	return append(body, tail...)
}

func TestBodiesArriveByteForByte(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	r.push([]translate.Backend{a}, member(a, 1))
	for _, size := range []int{23, 1 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 4 << 20} {
		body := chatOf(size)
		sum := sha256.Sum256(body)
		for framing, reader := range map[string]io.Reader{
			"content-length": bytes.NewReader(body), "chunked": unsized{bytes.NewReader(body)},
		} {
			got, err := r.do(http.MethodPost, reader, nil)
			if err != nil {
				t.Fatalf("%d bytes, %s: %v", size, framing, err)
			}
			if got.code != http.StatusOK || got.echo.Length != size || got.echo.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("%d bytes, %s: got %d with %d bytes", size, framing, got.code, got.echo.Length)
			}
		}
	}
}

func TestABodyOverTheLimitIsAnswered413(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	p := startPicker(t, u)
	a := pool("a", p, true, u)
	r.push([]translate.Backend{a}, member(a, 1))
	body := chatOf(20<<20 + 1)
	for framing, reader := range map[string]io.Reader{
		"content-length": bytes.NewReader(body), "chunked": unsized{bytes.NewReader(body)},
	} {
		got, err := r.do(http.MethodPost, reader, nil)
		if err != nil || got.code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: got %d, %v", framing, got.code, err)
		}
	}
	if p.asked.Load() != 0 {
		t.Errorf("the picker was asked %d times about a body that is too large", p.asked.Load())
	}
	if got := r.post(chatOf(19<<20), nil); got.code != http.StatusOK || got.echo.Length != 19<<20 {
		t.Errorf("19 MiB: got %d with %d bytes", got.code, got.echo.Length)
	}
}
