package dataplane

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// trap is an address that no request may reach.
func trap(t *testing.T, host string) (netip.AddrPort, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	sprung := &atomic.Int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sprung.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return addressOf(l), sprung
}

// witness is a model server that notes routing headers it should not see.
type witness struct {
	address netip.AddrPort
	asked   atomic.Int64
	leaks   chan string
}

func startWitness(t *testing.T, trailers bool) *witness {
	t.Helper()
	l := listen(t)
	w := &witness{address: addressOf(l), leaks: make(chan string, 1000)}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		for _, name := range header.Owned() {
			for _, value := range r.Header.Values(name) {
				if name != header.ModelName || value != "public" {
					w.leaks <- name + ": " + value
				}
			}
			if got := r.Trailer.Values(name); trailers && len(got) > 0 {
				w.leaks <- fmt.Sprintf("trailer %s: %q", name, got)
			}
		}
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	return w
}

// spoofs are header sets that claim the foreign model or address.
func spoofs(address string) []http.Header {
	var out []http.Header
	for _, name := range header.Owned() {
		value := address
		if strings.Contains(strings.ToLower(name), "model") {
			value = "secret"
		}
		out = append(out,
			http.Header{name: {value}}, http.Header{strings.ToLower(name): {value}}, http.Header{strings.ToUpper(name): {value}},
			http.Header{name: {value, value}}, http.Header{name: {"public", value}}, http.Header{name: {value + ",public"}},
			http.Header{name: {value}, "Connection": {name}}, http.Header{name: {""}, strings.ToLower(name): {value}})
	}
	all := http.Header{}
	for _, h := range out[:] {
		for name, values := range h {
			all[name] = values
		}
	}
	return append(out, all)
}

// carriers are requests that spoofs ride on, and the answers they may get.
func carriers() map[string]func(*proxied) (*http.Request, string) {
	const form = "--b\r\nContent-Disposition: form-data; name=model\r\n\r\npublic\r\n--b--"
	post := func(contentType, body, codes string) func(*proxied) (*http.Request, string) {
		return func(g *proxied) (*http.Request, string) {
			return g.request(http.MethodPost, contentType, strings.NewReader(body)), codes
		}
	}
	return map[string]func(*proxied) (*http.Request, string){
		"a model":   post("application/json", `{"model":"public"}`, "200"),
		"no model":  post("application/json", `{}`, "503"),
		"bad JSON":  post("application/json", `{"model":"public"`, "400"),
		"ambiguous": post("application/json", `{"model":"public","model":"secret"}`, "400"),
		"a form":    post("multipart/form-data; boundary=b", form, "200"),
		"text":      post("text/plain", `{"model":"secret"}`, "503"),
		"no bytes":  post("application/json", "", "503"),
		"GET":       func(g *proxied) (*http.Request, string) { return g.request(http.MethodGet, "", nil), "503" },
		"HEAD":      func(g *proxied) (*http.Request, string) { return g.request(http.MethodHead, "", nil), "503" },
		"trailers": func(g *proxied) (*http.Request, string) {
			r := g.request(http.MethodPost, "application/json", unsized{strings.NewReader(`{"model":"public"}`)})
			r.Trailer = http.Header{}
			for _, name := range header.Owned() {
				r.Trailer.Set(name, "secret")
			}
			return r, "200"
		},
	}
}

// The gateway sends what names no model to whatever address a header holds, the
// worst that providers do.
func TestSpoofedHeadersReachNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeBuffered, modeFullDuplex} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			forbidden, sprung := trap(t, "127.0.0.66")
			foreign := startWitness(t, false)
			// Without trailers in its mode, the body router never sees them.
			public := startWitness(t, mode == modeFullDuplex)
			g := startChain(t, chain{
				Routers: addresses(startBodyRouter(t, false)), RouterMode: mode, AnyAddress: true,
				Models: []modelRoute{{"secret", foreign.address}, {"public", public.address}},
			})
			requests := 0
			for name, carrier := range carriers() {
				for _, spoof := range spoofs(forbidden.String()) {
					request, want := carrier(g)
					for header, values := range spoof {
						request.Header[header] = values
					}
					got, err := g.send(request)
					if err != nil || fmt.Sprint(got.code) != want {
						t.Errorf("%s with %v: got %d, %v, want %s", name, spoof, got.code, err, want)
					}
					requests++
				}
			}
			close(public.leaks)
			for leak := range public.leaks {
				t.Errorf("reached the model server: %s", leak)
			}
			if sprung.Load() > 0 || foreign.asked.Load() > 0 {
				t.Errorf("%d connections to a forbidden address, %d requests to a foreign model", sprung.Load(), foreign.asked.Load())
			}
			if requests < 200 || public.asked.Load() == 0 {
				t.Errorf("%d requests, %d answered: the corpus is too small", requests, public.asked.Load())
			}
		})
	}
}
