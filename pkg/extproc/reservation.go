package extproc

import (
	"net/http"
	"strconv"
)

// wholeFactor is how many times a body that comes in one message is held: while
// it is decoded, gRPC has its frames and we have the message.
const wholeFactor = 2

// reserve takes the body's memory from the budget before the first byte of it
// arrives. STREAMED bodies are never held.
func (c *Conversation) reserve(r *Request) error {
	if c.requestMode.streamed() {
		return nil
	}
	n := c.maxBody
	if value, ok := r.Header("content-length"); ok {
		if length, err := strconv.ParseInt(value, 10, 64); err == nil && length >= 0 {
			n = length
		}
	}
	return c.grow(n)
}

// grow raises the reservation to n bytes.
func (c *Conversation) grow(n int64) error {
	if n > c.maxBody {
		return &Reject{
			Status: http.StatusRequestEntityTooLarge, Reason: "body_too_large",
			Message: "the request body is larger than " + strconv.FormatInt(c.maxBody, 10) + " bytes",
		}
	}
	if c.requestMode.whole() {
		n *= wholeFactor
	}
	if n <= c.reserved {
		return nil
	}
	if !c.budget.Reserve(n - c.reserved) {
		return &Reject{
			Status: http.StatusServiceUnavailable, Reason: "over_capacity",
			Message: "too many request bodies are in flight; try again",
			Headers: []Header{{"retry-after", "1"}},
		}
	}
	c.reserved = n
	return nil
}

// take accounts for received bytes, which may exceed a content-length that lied,
// and shows them to the processor.
func (c *Conversation) take(slice []byte) error {
	c.received += int64(len(slice))
	if !c.requestMode.streamed() {
		if err := c.grow(c.received); err != nil {
			return err
		}
	}
	if len(slice) == 0 {
		return nil
	}
	return c.processor.Body(slice)
}

// Yield gives up the memory reserved for a body that has not arrived. It is
// asked for anew when it does.
func (c *Conversation) Yield() {
	unused := c.reserved - min(c.received, c.reserved)
	c.budget.Release(unused)
	c.reserved -= unused
}
