package modelsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/kubectl-infer/kubectl-infer/pkg/version"
)

// Server is one simulated model server without its listener.
type Server struct {
	cfg      Config
	models   *models
	metrics  *metrics
	loop     *loop
	log      *accessLog
	requests atomic.Uint64
	bodies   atomic.Int64 // bytes reserved for bodies being read
}

// NewServer returns a server for cfg, which it validates. Lines of the access
// log go to log. Close it to stop its clock.
func NewServer(cfg Config, log io.Writer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(cfg.ServedNames) == 0 {
		cfg.ServedNames = []string{cfg.Model}
	}
	if !cfg.AccessLog {
		log = io.Discard
	}
	s := &Server{cfg: cfg, models: newModels(cfg), metrics: newMetrics(cfg), log: &accessLog{w: log}}
	s.loop = newLoop(cfg.EngineConfig, s.metrics)
	s.loop.setFaults(cfg.Faults)
	s.metrics.watch(cfg, s.loop.load)
	return s, nil
}

// Close stops the engine; requests in progress end only with their clients.
func (s *Server) Close() { s.loop.close() }

// Handler serves the OpenAI API, vLLM's endpoints and /sandbox/faults.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	api := func(method, route string, h http.HandlerFunc) {
		mux.Handle(method+" "+route, s.observed(route, h))
	}
	api("POST", "/v1/completions", s.complete(false))
	api("POST", "/v1/chat/completions", s.complete(true))
	api("GET", "/v1/models", s.models.list)
	api("POST", "/v1/load_lora_adapter", s.bounded(s.models.load))
	api("POST", "/v1/unload_lora_adapter", s.bounded(s.models.unload))
	mux.Handle("/v1/", s.observed("", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "Not Found", "Not Found")
	}))
	mux.HandleFunc("GET /health", health)
	mux.HandleFunc("GET /ping", health)
	mux.HandleFunc("POST /ping", health)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"version": "simulated " + version.Get().Version})
	})
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("GET /sandbox/faults", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.loop.currentFaults())
	})
	mux.HandleFunc("PUT /sandbox/faults", s.bounded(s.putFaults))
	return mux
}

// health answers 200 for as long as the server listens, hung or not.
func health(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	f, err := readFaults(r.Body)
	if err != nil {
		writeError(w, http.StatusBadRequest, typeBadRequest, err.Error())
		return
	}
	s.loop.setFaults(f)
	writeJSON(w, http.StatusOK, f)
}

// bounded limits the body of a control request.
func (s *Server) bounded(h http.HandlerFunc) http.HandlerFunc {
	const limit = 64 << 10
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		h(w, r)
	}
}

// observed says who answers, and counts and logs when the status is known.
func (s *Server) observed(route string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.Pod != "" {
			w.Header().Set("x-inference-pod", s.cfg.Pod)
			w.Header().Set("x-inference-namespace", s.cfg.Namespace)
		}
		h(&statusWriter{ResponseWriter: w, onStatus: func(status int) {
			s.metrics.request(route, r.Method, status)
			s.log.line(r, status)
		}}, r)
	})
}

// replyID is unique among requests of all servers that differ in pod or seed.
func (s *Server) replyID(n uint64, chat bool) string {
	prefix := "cmpl"
	if chat {
		prefix = "chatcmpl"
	}
	return fmt.Sprintf("%s-%016x", prefix, hash64(s.cfg.Pod, mix(s.cfg.Seed)+n))
}

// statusWriter calls onStatus once, with the status of the response.
type statusWriter struct {
	http.ResponseWriter
	onStatus func(int)
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if w.onStatus != nil {
		w.onStatus(status)
		w.onStatus = nil
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.onStatus != nil {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the writer underneath.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// accessLog writes lines as uvicorn does under vLLM.
type accessLog struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *accessLog) line(r *http.Request, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.w, "INFO:     %s - \"%s %s %s\" %d %s\n", // a lost log line harms nobody
		r.RemoteAddr, r.Method, r.URL.EscapedPath(), r.Proto, status, http.StatusText(status))
}

// vLLM's error types. A body that its request schema refuses has the status'
// own words; everything it finds wrong later has an exception's name.
const (
	typeSchema       = "Bad Request"
	typeBadRequest   = "BadRequestError"
	typeInvalidInput = "InvalidUserInput"
	typeNotFound     = "NotFoundError"
	typeInternal     = "InternalServerError"
	typeUnavailable  = "ServiceUnavailableError"
)

type errorBody struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    int     `json:"code"`
}

func writeError(w http.ResponseWriter, status int, kind, message string) {
	writeErrorOf(w, status, kind, "", message)
}

// writeErrorOf also names the parameter that is wrong.
func writeErrorOf(w http.ResponseWriter, status int, kind, param, message string) {
	body := errorBody{Message: message, Type: kind, Code: status}
	if param != "" {
		body.Param = &param
	}
	writeJSON(w, status, map[string]errorBody{"error": body})
}

// writeRefusal answers 400 with a refusal's words.
func writeRefusal(w http.ResponseWriter, err error) {
	r := &refusal{kind: typeBadRequest, message: err.Error()}
	errors.As(err, &r)
	writeErrorOf(w, http.StatusBadRequest, r.kind, r.param, r.message)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text) // the client is gone
}
