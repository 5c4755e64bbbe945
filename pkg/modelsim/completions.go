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

// conversation is one completion request on its way. Choice i is jobs[i] and
// seqs[i].
type conversation struct {
	*Server
	req   completionRequest
	chat  bool
	model string
	id    string
	jobs  []Job
	seqs  []*Sequence
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
			writeRefusal(w, err)
			return
		}
		model, adapter, ok := s.models.resolve(req.Model)
		if !ok {
			writeErrorOf(w, http.StatusNotFound, typeNotFound, "model", fmt.Sprintf("The model `%s` does not exist.", req.Model))
			return
		}
		jobs, err := s.cfg.plan(n, adapter, req, chat)
		if err != nil {
			writeRefusal(w, err)
			return
		}
		if s.loop.currentFaults().fail(s.cfg.Seed, n, jobs[0].Model) {
			writeError(w, http.StatusInternalServerError, typeInternal, "injected fault: errorRate")
			return
		}
		c := conversation{Server: s, req: req, chat: chat, model: model, jobs: jobs, id: s.replyID(n, chat)}
		c.run(w, r)
	}
}

// run submits the jobs and answers as they progress; a client that leaves
// takes its request out of the batch.
func (c *conversation) run(w http.ResponseWriter, r *http.Request) {
	var err error
	if c.seqs, c.wake, err = c.loop.submit(c.jobs); err != nil {
		writeError(w, http.StatusServiceUnavailable, typeUnavailable, err.Error())
		return
	}
	defer c.loop.leave(c.seqs)
	if c.req.Stream {
		c.stream(w, r)
		return
	}
	for !c.finished(c.loop.progress(c.seqs)) {
		select {
		case <-c.wake:
		case <-r.Context().Done():
			return
		}
	}
	object := "text_completion"
	if c.chat {
		object = "chat.completion"
	}
	choices := make([]choice, len(c.jobs))
	for i := range c.jobs {
		text := c.text().words(0, c.jobs[i].OutputTokens)
		choices[i] = choice{Index: i, FinishReason: &c.jobs[i].FinishReason}
		if c.chat {
			choices[i].Message = &chatMessage{Role: "assistant", Content: &text}
		} else {
			choices[i].Text = &text
		}
	}
	writeJSON(w, http.StatusOK, c.reply(object, c.usage(), choices...))
}

// finished tells whether every choice has all its tokens.
func (c *conversation) finished(emitted []int) bool {
	for i, n := range emitted {
		if n < c.jobs[i].OutputTokens {
			return false
		}
	}
	return true
}

// stream answers in server-sent events, one chunk for each time a choice has
// progressed.
func (c *conversation) stream(w http.ResponseWriter, r *http.Request) {
	text, sent := c.text(), make([]int, len(c.jobs))
	out := &eventStream{w: w, rc: http.NewResponseController(w), timeout: c.cfg.WriteTimeout}
	for open := false; !c.finished(sent); {
		select {
		case <-c.wake:
		case <-r.Context().Done():
			return
		}
		for i, now := range c.loop.progress(c.seqs) {
			if now == sent[i] {
				continue
			}
			if !open {
				c.open(out)
				open = true
			}
			piece := text.words(sent[i], now)
			sent[i] = now
			if out.send(c.chunk(i, piece, now == c.jobs[i].OutputTokens)); out.err != nil {
				return
			}
		}
	}
	if o := c.req.StreamOptions; o != nil && o.IncludeUsage {
		out.send(c.reply(c.chunkObject(), c.usage()))
	}
	out.write("data: [DONE]\n\n")
}

// open sends the headers, and the role that begins each choice of a chat.
func (c *conversation) open(out *eventStream) {
	out.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	out.w.WriteHeader(http.StatusOK)
	for i := 0; c.chat && i < len(c.jobs); i++ {
		empty := ""
		out.send(c.reply(c.chunkObject(), nil, choice{Index: i, Delta: &chatMessage{Role: "assistant", Content: &empty}}))
	}
}

func (c *conversation) chunk(i int, piece string, last bool) reply {
	part := choice{Index: i, Text: &piece}
	if c.chat {
		part = choice{Index: i, Delta: &chatMessage{Content: &piece}}
	}
	if last {
		part.FinishReason = &c.jobs[i].FinishReason
	}
	return c.reply(c.chunkObject(), nil, part)
}

func (c *conversation) chunkObject() string {
	if c.chat {
		return "chat.completion.chunk"
	}
	return "text_completion"
}

// text is what every choice says, each to its own length.
func (c *conversation) text() answer { return c.cfg.answer(c.jobs[0].Adapter) }

func (c *conversation) reply(object string, u *usage, choices ...choice) reply {
	if choices == nil {
		choices = []choice{}
	}
	return reply{ID: c.id, Object: object, Created: c.seqs[0].Arrived.Unix(), Model: c.model, Choices: choices, Usage: u}
}

// usage counts each prompt once, however many choices it has.
func (c *conversation) usage() *usage {
	var u usage
	for i, job := range c.jobs {
		if i%c.req.choices() == 0 {
			u.PromptTokens += job.PromptTokens
		}
		u.CompletionTokens += job.OutputTokens
	}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	return &u
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
