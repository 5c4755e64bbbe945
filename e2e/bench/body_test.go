package main

import (
	"encoding/json"
	"testing"
)

func TestBodiesAreOfTheirSizeAndValid(t *testing.T) {
	t.Parallel()
	for _, s := range []shape{longString, oneMessage, escapes} {
		for _, size := range []int{2 << 10, 16 << 10, 1 << 20} {
			b := body(s, size)
			var read struct {
				Model    string
				Messages []json.RawMessage
			}
			if err := json.Unmarshal(b, &read); err != nil || read.Model != model || len(b) != size {
				t.Errorf("%s of %d: %d bytes, model %q, %v", s, size, len(b), read.Model, err)
			}
			if s == escapes && len(read.Messages) != 40 {
				t.Errorf("%d messages", len(read.Messages))
			}
		}
	}
}
