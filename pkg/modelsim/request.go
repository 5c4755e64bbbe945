package modelsim

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// completionRequest is what the simulator reads of both kinds of request;
// everything else in the body is accepted and ignored.
type completionRequest struct {
	Model               string          `json:"model"`
	Prompt              json.RawMessage `json:"prompt"`
	Messages            []message       `json:"messages"`
	Stream              bool            `json:"stream"`
	StreamOptions       *streamOptions  `json:"stream_options"`
	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	IgnoreEOS           bool            `json:"ignore_eos"`
	N                   *int            `json:"n"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

// content is a message's text: a string, null, or a list of parts.
type content string

// UnmarshalJSON implements json.Unmarshaler.
func (c *content) UnmarshalJSON(data []byte) error {
	var text *string
	if json.Unmarshal(data, &text) == nil {
		if text != nil {
			*c = content(*text)
		}
		return nil
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return errors.New("a message's content is neither a string nor a list of parts")
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	*c = content(b.String())
	return nil
}

// refusal is an answer of 400, in vLLM's words where it has some.
type refusal struct {
	kind, param, message string
}

func (r *refusal) Error() string { return r.message }

// malformed is a body that vLLM's request schema refuses.
func malformed(param, format string, args ...any) error {
	return &refusal{typeSchema, param, fmt.Sprintf(format, args...)}
}

// invalid is a well-formed request with a value that cannot be.
func invalid(param, format string, args ...any) error {
	return &refusal{typeBadRequest, param, fmt.Sprintf(format, args...)}
}

// parseRequest reads a body. Its errors are refusals.
func parseRequest(body []byte, chat bool) (completionRequest, error) {
	var req completionRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return req, malformed("", "the body is not the JSON of a completion request: %v", err)
	}
	switch {
	case chat && len(req.Messages) == 0:
		return req, malformed("messages", "'messages' must have at least one message")
	case !chat && len(req.Prompt) == 0:
		return req, malformed("prompt", "'prompt' is required")
	case req.StreamOptions != nil && !req.Stream:
		return req, malformed("stream_options", "Stream options can only be defined when `stream=True`.")
	case req.choices() < 1:
		return req, invalid("n", "n must be at least 1, got %d.", req.choices())
	case req.limit() < 1 && req.limit() != noLimit:
		return req, invalid("max_tokens", "max_tokens must be at least 1, got %d.", req.limit())
	}
	return req, nil
}

// choices is how many answers each prompt gets.
func (r completionRequest) choices() int {
	if r.N == nil {
		return 1
	}
	return *r.N
}

const noLimit = math.MinInt

// limit is the longest answer the client wants, noLimit if it does not say.
func (r completionRequest) limit() int {
	switch {
	case r.MaxCompletionTokens != nil:
		return *r.MaxCompletionTokens
	case r.MaxTokens != nil:
		return *r.MaxTokens
	}
	return noLimit
}

// prompts are the texts to answer: one for a chat, else one or several, as
// strings or as lists of token ids. An id becomes four bytes, the simulator's
// bytes per token.
func (r completionRequest) prompts(chat bool) ([]string, error) {
	if chat {
		var b strings.Builder
		for _, m := range r.Messages {
			b.WriteString(m.Role + ": " + string(m.Content) + "\n")
		}
		return []string{b.String()}, nil
	}
	var one string
	if json.Unmarshal(r.Prompt, &one) == nil {
		return []string{one}, nil
	}
	var list []string
	if json.Unmarshal(r.Prompt, &list) == nil && len(list) > 0 {
		return list, nil
	}
	var ids []uint32
	if json.Unmarshal(r.Prompt, &ids) == nil && len(ids) > 0 {
		return []string{fromIDs(ids)}, nil
	}
	var lists [][]uint32
	if json.Unmarshal(r.Prompt, &lists) != nil || len(lists) == 0 {
		return nil, malformed("prompt", "'prompt' must be a string, a list of token ids, or a list of either")
	}
	texts := make([]string, len(lists))
	for i, ids := range lists {
		texts[i] = fromIDs(ids)
	}
	return texts, nil
}

func fromIDs(ids []uint32) string {
	b := make([]byte, 0, len(ids)*bytesPerToken)
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return string(b)
}

// plan turns request number n into jobs, one for each choice: all choices of
// the first prompt, then those of the next. Its errors are refusals.
func (c Config) plan(n uint64, adapter string, req completionRequest, chat bool) ([]Job, error) {
	texts, err := req.prompts(chat)
	if err != nil {
		return nil, err
	}
	if req.choices() > c.MaxNumSeqs/len(texts) {
		return nil, invalid("n", "%d prompts with n = %d are more than the %d choices this server runs at once", len(texts), req.choices(), c.MaxNumSeqs)
	}
	var jobs []Job
	for _, text := range texts {
		job := Job{
			Request: n, Model: cmp.Or(req.Model, c.ServedNames[0]), Adapter: adapter,
			PromptTokens: max(1, tokenCount(text)), Blocks: PrefixBlocks(adapter, text, c.BlockSize),
		}
		room := c.MaxModelLen - job.PromptTokens
		if room < max(req.limit(), 1) {
			return nil, invalid("", "This model's maximum context length is %d tokens. However, you requested %d tokens (%d in the prompt, %d for the answer).",
				c.MaxModelLen, job.PromptTokens+max(req.limit(), 0), job.PromptTokens, max(req.limit(), 0))
		}
		for range req.choices() {
			c.length(&job, mix(uint64(len(jobs)))^mix(0)^n, req, room)
			jobs = append(jobs, job)
		}
	}
	return jobs, nil
}

// length draws how long an answer gets, by its number, and why it ends.
func (c Config) length(job *Job, number uint64, req completionRequest, room int) {
	limit := req.limit()
	if limit == noLimit {
		limit = room
	}
	wanted := max(outputLength(c.Seed, number, c.OutputTokens), len(c.opening(job.Adapter)))
	job.OutputTokens, job.FinishReason = min(wanted, limit), finishStop
	if req.IgnoreEOS || wanted > limit {
		job.OutputTokens, job.FinishReason = limit, finishLength
	}
}

// opening is how an answer begins, one word per token.
func (c Config) opening(adapter string) []string {
	switch {
	case c.Answer != "":
		return strings.Fields(c.Answer)
	case adapter != "":
		return strings.Fields("I am " + adapter + ", a LoRA adapter on " + c.speaker() + ".")
	}
	return strings.Fields("I am " + c.speaker() + ", a simulated model.")
}

// answer is the text of one answer, a word per token.
type answer struct{ opening, filler []string }

func (c Config) answer(adapter string) answer {
	return answer{
		opening: c.opening(adapter),
		filler:  strings.Fields("The rest of this answer is filler so that it has the length you asked for."),
	}
}

// words returns tokens from to to-1: the opening, then filler.
func (a answer) words(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		if i > 0 {
			b.WriteByte(' ')
		}
		if i < len(a.opening) {
			b.WriteString(a.opening[i])
		} else {
			b.WriteString(a.filler[(i-len(a.opening))%len(a.filler)])
		}
	}
	return b.String()
}
