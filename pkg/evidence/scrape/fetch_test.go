package scrape

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc) (string, *http.Client) {
	t.Helper()
	server := httptest.NewServer(h)
	client := NewClient()
	t.Cleanup(server.Close)
	t.Cleanup(client.CloseIdleConnections)
	return server.URL + "/metrics", client
}

func TestFetchReadsAPage(t *testing.T) {
	t.Parallel()
	url, client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Accept"), "text/plain") {
			http.Error(w, "asked for "+r.Header.Get("Accept"), http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, textPage)
	})
	page, err := Fetch(t.Context(), client, url, wantedFamilies, Limits{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if sum, ok := page.Sum("http_requests_total", nil); !ok || sum != 13 {
		t.Errorf("got %v, %v", sum, ok)
	}
}

func TestFetchNeverFollowsARedirect(t *testing.T) {
	t.Parallel()
	var followed atomic.Bool
	elsewhere, _ := serve(t, func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	url, client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere, http.StatusFound)
	})
	_, err := Fetch(t.Context(), client, url, nil, Limits{Timeout: 10 * time.Second})
	if !errors.Is(err, ErrStatus) || followed.Load() {
		t.Errorf("followed: %v, error: %v", followed.Load(), err)
	}
}

func TestFetchStopsAtAnEndlessPage(t *testing.T) {
	t.Parallel()
	url, client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := strings.Repeat("other 1\n", 1000)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	})
	_, err := Fetch(t.Context(), client, url, nil, Limits{Timeout: 10 * time.Second, Bytes: 1 << 20, Lines: 1 << 30})
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestFetchGivesUpOnASilentServer(t *testing.T) {
	t.Parallel()
	url, client := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := Fetch(t.Context(), client, url, nil, Limits{Timeout: 20 * time.Millisecond})
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestFetchCallsAPageThatBreaksOffUnreachable(t *testing.T) {
	t.Parallel()
	url, client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "http_requests_total 1\n")
	})
	if _, err := Fetch(t.Context(), client, url, wantedFamilies, Limits{Timeout: 10 * time.Second}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}
