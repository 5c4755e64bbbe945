package dataplane

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// apiCall is a request of the OpenAI API, and the model it must be routed by.
type apiCall struct {
	method, path, contentType, body string
	model                           string // empty: it passes, without a model
	rejected                        bool   // by --missing-model=reject
}

const formType = `multipart/form-data; boundary="----x7"`

// apiForm is a form with a file before and after its fields.
func apiForm(fields ...string) string {
	file := func(name, content string) string {
		return "------x7\r\nContent-Disposition: form-data; name=\"" + name + "\"; filename=\"model.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n" + content + "\r\n"
	}
	var b strings.Builder
	b.WriteString(file("file", "RIFF\x00\xff\r\n--not a boundary"))
	for i := 0; i < len(fields); i += 2 {
		b.WriteString("------x7\r\nContent-Disposition: form-data; name=\"" + fields[i] + "\"\r\n\r\n" + fields[i+1] + "\r\n")
	}
	return b.String() + file("mask", "\x89PNG") + "------x7--\r\n"
}

func apiCalls() map[string]apiCall {
	post := func(path, body, model string) apiCall {
		return apiCall{http.MethodPost, path, "application/json", body, model, model == ""}
	}
	form := func(path, model string, fields ...string) apiCall {
		return apiCall{http.MethodPost, path, formType, apiForm(fields...), model, model == ""}
	}
	other := func(contentType, body string) apiCall {
		return apiCall{http.MethodPost, "/v1/chat/completions", contentType, body, "", false}
	}
	return map[string]apiCall{
		"completions":          post("/v1/completions", `{"model":"qwen","prompt":["a",[1,2,3]],"max_tokens":7,"stream":true}`, "qwen"),
		"chat completions":     post("/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"text","text":"\u00e9\"model\":\"x\""}]}],"model":"qwen"}`, "qwen"),
		"responses":            post("/v1/responses", `{"model":"qwen","input":[{"role":"user","content":"hi"}],"tools":[{"model":"inner"}]}`, "qwen"),
		"embeddings":           post("/v1/embeddings", `{"input":[[1,2],[3]],"model":"bge-m3","encoding_format":"float"}`, "bge-m3"),
		"rerank":               post("/v1/rerank", `{"model":"BAAI/bge-reranker-v2","query":"q","documents":["a",{"text":"b"}]}`, "BAAI/bge-reranker-v2"),
		"tokenize":             post("/tokenize", `{"model":"qwen","prompt":"hi","add_special_tokens":false}`, "qwen"),
		"audio transcription":  form("/v1/audio/transcriptions", "whisper-1", "model", "whisper-1", "language", "en"),
		"image edits":          form("/v1/images/edits", "gpt-image-1", "prompt", `"model":"x"`, "model", "gpt-image-1", "n", "2"),
		"a body without model": post("/v1/completions", `{"prompt":"x","Model":"qwen"}`, ""),
		"a form without model": form("/v1/audio/transcriptions", "", "language", "en"),
		"GET":                  {http.MethodGet, "/v1/models", "", "", "", false},
		"DELETE":               {http.MethodDelete, "/v1/files/f", "", "", "", false},
		"an empty body":        {http.MethodPost, "/v1/unload_lora_adapter", "application/json", "", "", false},
		"text":                 other("text/plain", `{"model":"secret"}`),
		"a urlencoded form":    other("application/x-www-form-urlencoded", "model=secret"),
		"an unknown type":      other("application/x-unknown", `{"model":"secret"}`),
	}
}

func TestTheOpenAISurface(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeBuffered, modeFullDuplex} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u, lenient, strict := startUpstream(t), startChild(t), startChild(t, "--missing-model=reject")
			models := []modelRoute{{"secret", freeAddress(t)}, {"", u.address}}
			passing := startChain(t, chain{Routers: addresses(lenient.address), RouterMode: mode, Models: models})
			rejecting := startChain(t, chain{Routers: addresses(strict.address), RouterMode: mode, Models: models})
			conn := dialRouter(t, lenient)
			for name, call := range apiCalls() {
				t.Run(name+", by conversation", func(t *testing.T) { call.converse(t, conn, mode) })
				t.Run(name+", through Envoy", func(t *testing.T) { call.travel(t, passing) })
				t.Run(name+", --missing-model=reject", func(t *testing.T) {
					want := http.StatusOK
					if call.rejected {
						want = http.StatusBadRequest
					}
					if got, err := rejecting.send(call.request(rejecting)); err != nil || got.code != want {
						t.Errorf("got %d, %v, want %d", got.code, err, want)
					}
				})
			}
		})
	}
}

// request is the call with a client's own routing headers.
func (c apiCall) request(g *proxied) *http.Request {
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	r := g.request(c.method, c.contentType, body)
	r.URL.Path = c.path
	for _, name := range header.Owned() {
		r.Header.Set(name, "secret")
	}
	return r
}

// travel wants the call at the upstream as it was sent, with our headers only.
func (c apiCall) travel(t *testing.T, g *proxied) {
	got, err := g.send(c.request(g))
	if err != nil || got.code != http.StatusOK || got.echo.Length != len(c.body) || got.echo.Path != c.path {
		t.Errorf("got %d, %v, %+v", got.code, err, got.echo)
	}
	for _, name := range header.Owned() {
		want := ""
		if name == header.ModelName {
			want = c.model
		}
		if have := got.echo.Headers.Get(name); have != want {
			t.Errorf("%s arrived as %q, want %q", name, have, want)
		}
	}
}

// converse asks the body router itself and looks at what it sets and removes.
func (c apiCall) converse(t *testing.T, conn *grpc.ClientConn, mode string) {
	stream, err := procv3.NewExternalProcessorClient(conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sending := modev3.ProcessingMode_BodySendMode(modev3.ProcessingMode_BodySendMode_value[mode])
	first := headersOf(len(c.body), sending)
	h := first.GetRequestHeaders()
	h.EndOfStream = c.method != http.MethodPost
	h.Headers = &corev3.HeaderMap{}
	for _, pair := range [][2]string{{":method", c.method}, {":path", c.path}, {"content-type", c.contentType}, {"content-length", strconv.Itoa(len(c.body))}} {
		if pair[1] != "" {
			h.Headers.Headers = append(h.Headers.Headers, &corev3.HeaderValue{Key: pair[0], RawValue: []byte(pair[1])})
		}
	}
	messages := []*procv3.ProcessingRequest{first}
	if !h.EndOfStream {
		messages = append(messages, bodyOf(c.body, true))
	}
	for _, m := range messages {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	settled := map[string]string{}
	for range messages { // full duplex: the headers, then one piece; else an answer to each
		answer, err := stream.Recv()
		if err != nil || answer.GetImmediateResponse() != nil {
			t.Fatalf("got %v, %v", answer, err)
		}
		common := answer.GetRequestHeaders().GetResponse()
		if common == nil {
			common = answer.GetRequestBody().GetResponse()
		}
		for _, name := range common.GetHeaderMutation().GetRemoveHeaders() {
			settled[name] = ""
		}
		for _, set := range common.GetHeaderMutation().GetSetHeaders() {
			settled[set.GetHeader().GetKey()] = string(set.GetHeader().GetRawValue())
		}
	}
	for _, name := range header.Owned() {
		value, ok := settled[name]
		if !ok || name == header.ModelName && value != c.model {
			t.Errorf("%s: %q, settled %v; want model %q", name, value, ok, c.model)
		}
	}
}
