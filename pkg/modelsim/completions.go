package modelsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	TotalTokens      int `json:"total_tokens"`
	CompletionTokens int `json:"completion_tokens"`
}

// reply is a whole answer or one chunk of it, of either kind of completion.
type reply struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

type choice struct {
	Index        int          `json:"index"`
	Text         *string      `json:"text,omitempty"`
	Message      *chatMessage `json:"message,omitempty"`
	Delta        *chatMessage `json:"delta,omitempty"`
	LogProbs     *struct{}    `json:"logprobs"`
	FinishReason *string      `json:"finish_reason"`
}

type chatMessage struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// conversation is one completion request on its way.
type conversation struct {
	*Server
	req   completionRequest
	chat  bool
	model string
	id    string
	job   Job
	seq   *Sequence
	wake  <-chan struct{}
}

// complete answers POST /v1/completions and /v1/chat/completions.
func (s *Server) complete(chat bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, ok := s.readBody(w, r)
		if !ok {
			return
		}
		n := s.requests.Add(1)
		req, err := parseRequest(body, chat)
		if err != nil {
			writeError(w, http.StatusBadRequest, typeBadRequest, err.Error())
			return
		}
		model, adapter, ok := s.models.resolve(req.Model)
		if !ok {
			writeError(w, http.StatusNotFound, typeNotFound, fmt.Sprintf("The model `%s` does not exist.", req.Model))
			return
		}
		job, err := s.cfg.plan(n, adapter, req, chat)
		if err != nil {
			writeError(w, http.StatusBadRequest, typeBadRequest, err.Error())
			return
		}
		if s.loop.currentFaults().fail(s.cfg.Seed, n, job.Model) {
			writeError(w, http.StatusInternalServerError, typeInternal, "injected fault: errorRate")
			return
		}
		c := conversation{Server: s, req: req, chat: chat, model: model, job: job, id: s.replyID(n, chat)}
		c.run(w, r)
	}
}

// run submits the job and answers as it progresses; a client that leaves takes
// its request out of the batch.
func (c *conversation) run(w http.ResponseWriter, r *http.Request) {
	var err error
	if c.seq, c.wake, err = c.loop.submit(c.job); err != nil {
		writeError(w, http.StatusServiceUnavailable, typeUnavailable, err.Error())
		return
	}
	defer c.loop.leave(c.seq)
	if c.req.Stream {
		c.stream(w, r)
		return
	}
	for c.loop.progress(c.seq) < c.job.OutputTokens {
		select {
		case <-c.wake:
		case <-r.Context().Done():
			return
		}
	}
	text := c.cfg.answer(c.job.Adapter).words(0, c.job.OutputTokens)
	whole := choice{FinishReason: &c.job.FinishReason}
	object := "text_completion"
	if c.chat {
		object, whole.Message = "chat.completion", &chatMessage{Role: "assistant", Content: &text}
	} else {
		whole.Text = &text
	}
	writeJSON(w, http.StatusOK, c.reply(object, c.usage(), whole))
}

// stream answers in server-sent events, one chunk for each time the sequence
// has progressed.
func (c *conversation) stream(w http.ResponseWriter, r *http.Request) {
	text, sent := c.cfg.answer(c.job.Adapter), 0
	out := &eventStream{w: w, rc: http.NewResponseController(w), timeout: c.cfg.WriteTimeout}
	for sent < c.job.OutputTokens {
		select {
		case <-c.wake:
		case <-r.Context().Done():
			return
		}
		now := c.loop.progress(c.seq)
		if now == sent {
			continue
		}
		if sent == 0 {
			c.open(out)
		}
		piece := text.words(sent, now)
		sent = now
		if out.send(c.chunk(piece, sent == c.job.OutputTokens)); out.err != nil {
			return
		}
	}
	if o := c.req.StreamOptions; o != nil && o.IncludeUsage {
		out.send(c.reply(c.chunkObject(), c.usage()))
	}
	out.write("data: [DONE]\n\n")
}

// open sends the headers, and the role that begins a chat answer.
func (c *conversation) open(out *eventStream) {
	out.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	out.w.WriteHeader(http.StatusOK)
	if c.chat {
		empty := ""
		out.send(c.reply(c.chunkObject(), nil, choice{Delta: &chatMessage{Role: "assistant", Content: &empty}}))
	}
}

func (c *conversation) chunk(piece string, last bool) reply {
	part := choice{Text: &piece}
	if c.chat {
		part = choice{Delta: &chatMessage{Content: &piece}}
	}
	if last {
		part.FinishReason = &c.job.FinishReason
	}
	return c.reply(c.chunkObject(), nil, part)
}

func (c *conversation) chunkObject() string {
	if c.chat {
		return "chat.completion.chunk"
	}
	return "text_completion"
}

func (c *conversation) reply(object string, u *usage, choices ...choice) reply {
	if choices == nil {
		choices = []choice{}
	}
	return reply{ID: c.id, Object: object, Created: c.seq.Arrived.Unix(), Model: c.model, Choices: choices, Usage: u}
}

func (c *conversation) usage() *usage {
	return &usage{
		PromptTokens: c.job.PromptTokens, CompletionTokens: c.job.OutputTokens,
		TotalTokens: c.job.PromptTokens + c.job.OutputTokens,
	}
}

// readBody reads a request's body within its own limit and the budget of all;
// false means that the request has been answered.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	need := s.cfg.MaxBody
	if r.ContentLength >= 0 {
		need = min(need, r.ContentLength)
	}
	if s.bodies.Add(need) > s.cfg.MaxBodies {
		s.bodies.Add(-need)
		writeError(w, http.StatusServiceUnavailable, typeUnavailable, "too many request bodies at once")
		return nil, false
	}
	defer s.bodies.Add(-need)
	rc := http.NewResponseController(w)
	// A writer without deadlines (a recorder in a test) is read without one.
	_ = rc.SetReadDeadline(time.Now().Add(s.cfg.ReadTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.cfg.MaxBody))
	_ = rc.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		writeError(w, http.StatusRequestEntityTooLarge, typeBadRequest, fmt.Sprintf("the body is longer than %d bytes", s.cfg.MaxBody))
	case err != nil:
		writeError(w, http.StatusBadRequest, typeBadRequest, "the body could not be read: "+err.Error())
	}
	return body, err == nil
}

// eventStream writes server-sent events and remembers the first error.
type eventStream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	err     error
}

func (e *eventStream) send(v reply) {
	data, err := json.Marshal(v)
	if err != nil {
		e.err = err
		return
	}
	e.write("data: " + string(data) + "\n\n")
}

func (e *eventStream) write(event string) {
	if e.err != nil {
		return
	}
	_ = e.rc.SetWriteDeadline(time.Now().Add(e.timeout)) // as above: not every writer has deadlines
	if _, e.err = io.WriteString(e.w, event); e.err == nil {
		e.err = e.rc.Flush()
	}
}
