package dataplane

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

func TestBodyRouterAndPickerInOneChainKeepEveryByte(t *testing.T) {
	t.Parallel()
	sizes := []int{23, 100, 6 << 10, 16 << 10, 61_999, 62_000, 62_001, 64 << 10, 256 << 10, 1 << 20, 5 << 20, 19 << 20}
	u := startUpstream(t)
	router := startBodyRouter(t, false)
	picker := startProgramPicker(t, u)
	for _, routerMode := range []string{modeBuffered, modeFullDuplex} {
		for _, pickerMode := range []string{modeBuffered, modeFullDuplex} {
			t.Run("router "+routerMode+", picker "+pickerMode, func(t *testing.T) {
				t.Parallel()
				g := startChain(t, chain{
					Routers: addresses(router), RouterMode: routerMode, Picker: picker, PickerMode: pickerMode,
					Models: []modelRoute{{"m", u.address}, {"", u.address}},
				})
				for _, size := range []int{1, 2, 22} {
					wantWhole(t, g, bytes.Repeat([]byte("x"), size), "text/plain", "")
				}
				for _, size := range sizes {
					wantWhole(t, g, chatOf(size), "application/json", "m")
				}
			})
		}
	}
}

// wantWhole sends a body with a length and in chunks.
func wantWhole(t *testing.T, g *proxied, body []byte, contentType, model string) {
	t.Helper()
	sum := sha256.Sum256(body)
	for framing, reader := range map[string]io.Reader{
		"content-length": bytes.NewReader(body), "chunked": unsized{bytes.NewReader(body)},
	} {
		got, err := g.send(g.request(http.MethodPost, contentType, reader))
		if err != nil {
			t.Errorf("%d bytes, %s: %v", len(body), framing, err)
			continue
		}
		if got.code != http.StatusOK || got.echo.Length != len(body) || got.echo.SHA256 != hex.EncodeToString(sum[:]) ||
			got.echo.Headers.Get(header.ModelName) != model {
			t.Errorf("%d bytes, %s: got %d with %d bytes, model %q", len(body), framing, got.code, got.echo.Length, got.echo.Headers.Get(header.ModelName))
		}
	}
}

// An upgrade has no end to wait for: the body router answers it at its headers.
func TestAnUpgradePassesInFullDuplex(t *testing.T) {
	t.Parallel()
	g, _ := upgrading(t, modeFullDuplex)
	conn := g.upgrade()
	defer conn.Close()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("X-Saw") != `""` {
		t.Errorf("got %s, the server saw %s", response.Status, response.Header.Get("X-Saw"))
	}
}

// With BUFFERED, Envoy 1.40 itself never lets an upgrade pass (envoyproxy/envoy
// issue 47081), whatever it is answered. What we owe is an answer at the headers,
// without waiting for a body, and nothing kept once the client gives up.
func TestAnUpgradeInBufferedModeIsAnsweredAndLeavesNothing(t *testing.T) {
	t.Parallel()
	g, router := upgrading(t, modeBuffered)
	const sent = "http.gateway.ext_proc.stream_msgs_received"
	conn := g.upgrade()
	eventually(t, "the upgrade is answered", func() bool { return strings.Contains(g.page("/stats?filter="+sent), sent+": 1\n") })
	_ = conn.Close()
	eventually(t, "the client's end frees everything", func() bool {
		return router.metric(t, "streams") == 0 && router.metric(t, `requests_total{model="",outcome="upgrade"}`) == 1
	})
	if held := router.metric(t, "body_bytes_reserved"); held != 0 {
		t.Errorf("%v bytes stay reserved", held)
	}
}

// upgrading is a chain before a server that switches protocols, and says which
// model it was asked for.
func upgrading(t *testing.T, mode string) (*proxied, *routerProcess) {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Saw: %q\r\n\r\n", request.Header.Get(header.ModelName))
			}
			_ = conn.Close()
		}
	}()
	router := startChild(t)
	return startChain(t, chain{
		Routers: addresses(router.address), RouterMode: mode,
		Models: []modelRoute{{"secret", freeAddress(t)}, {"", addressOf(l)}},
	}), router
}

// upgrade asks to switch protocols, with a model of its own.
func (g *proxied) upgrade() net.Conn {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.chain.Listener.String())
	if err != nil {
		g.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Gateway-Model-Name: secret\r\n\r\n")
	return conn
}

// On a new connection Envoy does not know the limit yet: streams above it are
// refused, and asked again.
func TestMoreRequestsThanStreamsWaitTheirTurn(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeBuffered, modeFullDuplex} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t)
			g := startChain(t, chain{
				Routers: addresses(startChild(t, "--max-streams=2").address), RouterMode: mode, Models: []modelRoute{{"qwen", u.address}},
			})
			var group sync.WaitGroup
			for range 40 {
				group.Go(func() {
					got, err := g.send(g.request(http.MethodPost, "application/json", strings.NewReader(chat)))
					if err != nil || got.code != http.StatusOK {
						t.Errorf("got %d, %v", got.code, err)
					}
				})
			}
			group.Wait()
		})
	}
}

func TestResponsesPassUntouched(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("data: \x00\xff\r\n\n"), 30_000)
	l := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X-Gateway-Model-Name"] = []string{"a", "b"} // the upstream's own affair
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(content)
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	router := startChild(t)
	for _, mode := range []string{modeBuffered, modeFullDuplex} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			g := startChain(t, chain{
				Routers: addresses(router.address), RouterMode: mode, RouterResponses: true, Models: []modelRoute{{"", addressOf(l)}},
			})
			for _, request := range []*http.Request{
				g.request(http.MethodGet, "", nil), g.request(http.MethodPost, "application/json", strings.NewReader(chat)),
			} {
				response, err := g.client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != http.StatusTeapot || !bytes.Equal(got, content) || len(response.Header.Values(header.ModelName)) != 2 {
					t.Errorf("%s: got %s with %d bytes, %v, %v", request.Method, response.Status, len(got), response.Header, err)
				}
			}
		})
	}
}

func TestHeadTrailersAndResets(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeBuffered, modeFullDuplex} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u, router := startUpstream(t), startChild(t, "--body-idle-timeout=300ms")
			g := startChain(t, chain{Routers: addresses(router.address), RouterMode: mode, Models: []modelRoute{{"m", u.address}, {"", u.address}}})
			if got, err := g.send(g.request(http.MethodHead, "", nil)); err != nil || got.code != http.StatusOK {
				t.Errorf("HEAD: got %d, %v", got.code, err)
			}
			request := g.request(http.MethodPost, "application/json", unsized{strings.NewReader(chat)})
			request.Trailer = http.Header{"X-Checksum": {"1"}}
			if got, err := g.send(request); err != nil || got.code != http.StatusOK || got.echo.Headers.Get(header.ModelName) != "qwen" || got.echo.Length != len(chat) {
				t.Errorf("trailers: got %+v, %v", got, err)
			}
			stalled, feed := io.Pipe()
			ctx, reset := context.WithCancel(t.Context())
			done := make(chan int, 1)
			go func() {
				got, _ := g.send(g.request(http.MethodPost, "application/json", stalled).WithContext(ctx))
				done <- got.code
			}()
			_, _ = feed.Write([]byte(`{"model":`))
			eventually(t, "the body is reserved, or was given up", func() bool {
				return mode == modeBuffered || router.metric(t, "body_bytes_reserved") > 0 || len(done) > 0
			})
			if mode == modeFullDuplex {
				if code := <-done; code != http.StatusRequestTimeout {
					t.Errorf("a body that pauses: got %d, want 408", code)
				}
			}
			reset()
			_ = feed.Close()
			eventually(t, "the reset freed the body", func() bool { return router.metric(t, "body_bytes_reserved") == 0 && router.metric(t, "streams") == 0 })
		})
	}
}
