package dataplane

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// echo is what an upstream says about a request that reached it.
type echo struct {
	Upstream string
	Path     string
	Host     string
	Headers  http.Header
	Length   int
	SHA256   string
}

// upstream answers any path with an echo, /hang never, and /stream with an
// event stream that sends one event at once and one at every tick, to the last.
type upstream struct {
	address netip.AddrPort
	seen    atomic.Int64 // requests that were echoed
	picked  atomic.Int64 // those that carried a pick
	fail    atomic.Int64 // how many to answer 503 from now on
	mu      sync.Mutex
	changed chan struct{}
	ticks   int
	done    bool
}

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{changed: make(chan struct{})}
	l := listen(t)
	u.address = addressOf(l)
	mux := http.NewServeMux()
	mux.HandleFunc("/stream", u.stream)
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/", u.echo)
	server := &http.Server{Handler: mux}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	return u
}

func (u *upstream) echo(w http.ResponseWriter, r *http.Request) {
	u.seen.Add(1)
	if r.Header.Get(header.DestinationEndpoint) != "" {
		u.picked.Add(1)
	}
	if u.fail.Add(-1) >= 0 {
		http.Error(w, "told to", http.StatusServiceUnavailable)
		return
	}
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(echo{
		Upstream: u.address.String(), Path: r.URL.Path, Host: r.Host, Headers: r.Header, Length: int(n), SHA256: hex.EncodeToString(hash.Sum(nil)),
	})
}

func (u *upstream) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for sent := -1; ; {
		u.mu.Lock()
		ticks, done, changed := u.ticks, u.done, u.changed
		u.mu.Unlock()
		for ; sent < ticks; sent++ {
			fmt.Fprintf(w, "data: %d\n\n", sent+1)
		}
		if done {
			fmt.Fprint(w, "data: [DONE]\n\n")
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (u *upstream) tick(done bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ticks++
	u.done = done
	close(u.changed)
	u.changed = make(chan struct{})
}

// answer is one response through Envoy.
type answer struct {
	code    int
	backend string
	echo    echo
}

func (r *rig) post(body []byte, headers http.Header) answer {
	r.t.Helper()
	a, err := r.do(http.MethodPost, bytes.NewReader(body), headers)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// postTo posts a chat for another host.
func (r *rig) postTo(host string) answer {
	r.t.Helper()
	return r.post([]byte(chat), http.Header{"Host": {host}})
}

func (r *rig) do(method string, body io.Reader, headers http.Header) (answer, error) {
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url("/v1/chat/completions"), body)
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	for name, values := range headers {
		request.Header[name] = values
	}
	request.Host = headers.Get("Host")
	response, err := r.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{code: response.StatusCode, backend: response.Header.Get(xds.HeaderBackend)}
	content, err := io.ReadAll(response.Body)
	if err == nil && a.code == http.StatusOK {
		err = json.Unmarshal(content, &a.echo)
	}
	return a, err
}

// sse is one running event stream.
type sse struct {
	response *http.Response
	events   chan string
	err      chan error // nil after [DONE], else how it was cut
}

func (r *rig) openStream() *sse {
	r.t.Helper()
	response, err := r.client.Post(r.url("/stream"), "application/json", bytes.NewReader([]byte(`{"model":"m"}`)))
	if err != nil {
		r.t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		r.t.Fatalf("stream: got %s", response.Status)
	}
	s := &sse{response: response, events: make(chan string, 64), err: make(chan error, 1)}
	go func() {
		defer response.Body.Close()
		lines, last := bufio.NewScanner(response.Body), ""
		for lines.Scan() {
			if lines.Text() != "" {
				last = lines.Text()
				s.events <- last
			}
		}
		if last != "data: [DONE]" {
			s.err <- fmt.Errorf("stream cut after %q: %v", last, lines.Err())
			return
		}
		s.err <- nil
	}()
	return s
}

func decodeEcho(t *testing.T, from io.Reader) echo {
	t.Helper()
	var e echo
	if err := json.NewDecoder(from).Decode(&e); err != nil {
		t.Fatal(err)
	}
	return e
}
