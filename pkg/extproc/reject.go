package extproc

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Reject is an error that answers the client: an ImmediateResponse with a JSON
// body in the form of OpenAI's errors and the reason in a header.
// Source of the body: https://platform.openai.com/docs/guides/error-codes
type Reject struct {
	// Status is the HTTP status, 400 to 599.
	Status int
	// Reason is a short snake_case word: header, metric label, error code.
	Reason string
	// Message is for the person who sent the request.
	Message string
	// Headers are added to the answer.
	Headers []Header
}

// Error returns the status, the reason and the message.
func (r *Reject) Error() string {
	return "reject with " + strconv.Itoa(r.Status) + " " + r.Reason + ": " + r.Message
}

// body returns the answer's JSON.
func (r *Reject) body() []byte {
	type detail struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	answer := struct {
		Error detail `json:"error"`
	}{detail{Message: r.Message, Type: r.kind(), Code: r.Reason}}
	out, err := json.Marshal(answer)
	if err != nil {
		return []byte(`{"error":{"type":"server_error"}}`)
	}
	return out
}

// kind is the error type that OpenAI's clients know for the status.
func (r *Reject) kind() string {
	switch {
	case r.Status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case r.Status >= http.StatusInternalServerError:
		return "server_error"
	default:
		return "invalid_request_error"
	}
}
