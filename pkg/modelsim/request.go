package modelsim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
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

// parseRequest reads a body. Its errors are for the client.
func parseRequest(body []byte, chat bool) (completionRequest, error) {
	var req completionRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return req, fmt.Errorf("the body is not the JSON of a completion request: %w", err)
	}
	switch {
	case chat && len(req.Messages) == 0:
		return req, errors.New("'messages' must have at least one message")
	case !chat && len(req.Prompt) == 0:
		return req, errors.New("'prompt' is required")
	case req.N != nil && *req.N != 1:
		return req, errors.New("this server answers one choice: 'n' must be 1")
	case req.limit() < 1 && req.limit() != noLimit:
		return req, fmt.Errorf("max_tokens must be at least 1, got %d", req.limit())
	case req.StreamOptions != nil && !req.Stream:
		return req, errors.New("stream options can only be defined when 'stream' is true")
	}
	return req, nil
}

const noLimit = -1

// limit is the most tokens the client wants, noLimit when it did not say.
func (r completionRequest) limit() int {
	for _, n := range []*int{r.MaxCompletionTokens, r.MaxTokens} {
		if n != nil {
			return max(*n, noLimit+1)
		}
	}
	return noLimit
}

// text is the prompt as the prefix cache sees it. Token ids stand for
// themselves: one per token, padded to the simulator's bytes per token.
func (r completionRequest) text(chat bool) (string, error) {
	if chat {
		var b strings.Builder
		for _, m := range r.Messages {
			b.WriteString(m.Role + ": " + string(m.Content) + "\n")
		}
		return b.String(), nil
	}
	var one string
	if json.Unmarshal(r.Prompt, &one) == nil {
		return one, nil
	}
	var list []string
	if json.Unmarshal(r.Prompt, &list) == nil && len(list) == 1 {
		return list[0], nil
	}
	var ids []uint32
	if json.Unmarshal(r.Prompt, &ids) == nil && len(ids) > 0 {
		b := make([]byte, 0, len(ids)*bytesPerToken)
		for _, id := range ids {
			b = append(b, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
		}
		return string(b), nil
	}
	return "", errors.New("'prompt' must be one string or one list of token ids")
}

// plan turns a request into a job. Its errors are for the client.
func (c Config) plan(n uint64, adapter string, req completionRequest, chat bool) (Job, error) {
	text, err := req.text(chat)
	if err != nil {
		return Job{}, err
	}
	job := Job{Request: n, Model: cmp.Or(req.Model, c.ServedNames[0]), Adapter: adapter, PromptTokens: max(1, tokenCount(text))}
	room := c.MaxModelLen - job.PromptTokens
	limit := req.limit()
	if room < max(limit, 1) {
		return Job{}, fmt.Errorf("this model's maximum context length is %d tokens; the request has %d in the prompt and %d for the answer",
			c.MaxModelLen, job.PromptTokens, max(limit, 0))
	}
	if limit == noLimit {
		limit = room
	}
	wanted := max(outputLength(c.Seed, n, c.OutputTokens), len(c.opening(adapter)))
	job.OutputTokens, job.FinishReason = min(wanted, limit), finishStop
	if req.IgnoreEOS || wanted > limit {
		job.OutputTokens, job.FinishReason = limit, finishLength
	}
	job.Blocks = prefixBlocks(adapter, text, c.BlockSize)
	return job, nil
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
