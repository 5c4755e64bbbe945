package main

import "strings"

// shape is what a request body looks like: JSON scanners find some kinds of text
// dearer than others.
type shape string

const (
	longString shape = "one long string"
	oneMessage shape = "one message" // what a picker is asked: a chat
	escapes    shape = "chat of escapes"
)

// model is the name in every body.
const model = "qwen"

// body returns a body of size bytes. The model comes last, as the worst case: no
// server may stop early.
func body(s shape, size int) []byte {
	const tail = `,"model":"` + model + `"}`
	switch s {
	case longString:
		return []byte(within(`{"prompt":"`, `"`+tail, size))
	case oneMessage:
		return []byte(within(`{"messages":[{"role":"user","content":"`, `"}]`+tail, size))
	}
	const (
		head    = `{"messages":[`
		open    = `{"role":"user","content":"`
		shut    = `"}`
		content = `He said \"yes\" \u2014 twice.\n\n\tThen: C:\\temp\\x `
		count   = 40
	)
	left := size - len(head) - len("]") - len(tail) - (count - 1)
	messages := make([]string, count)
	for i := range messages {
		share := left / (count - i)
		left -= share
		messages[i] = open + fill(content, max(share-len(open)-len(shut), 0)) + shut
	}
	return []byte(head + strings.Join(messages, ",") + "]" + tail)
}

// within fills up what stands between head and tail.
func within(head, tail string, size int) string {
	return head + fill("The quick brown fox jumps over the lazy dog. ", size-len(head)-len(tail)) + tail
}

// fill repeats text up to n bytes and never cuts inside it: dots make up the rest.
func fill(text string, n int) string {
	whole := n / len(text)
	return strings.Repeat(text, whole) + strings.Repeat(".", n-whole*len(text))
}
