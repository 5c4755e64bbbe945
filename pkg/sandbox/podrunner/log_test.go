package podrunner

import (
	"strings"
	"testing"
)

func TestTheLastLinesOfALogAreFound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule, text string
		from, n    int64
		want       string
	}{
		{"the last lines", "a\nb\nc\n", 0, 2, "b\nc\n"},
		{"a last line without an end counts", "a\nb\nc", 0, 2, "b\nc"},
		{"more than there are is all", "a\nb\n", 0, 9, "a\nb\n"},
		{"none", "a\n", 0, 0, ""},
		{"nothing from before the run", "a\nb\nc\n", 4, 2, "c\n"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			at, err := lastLines(strings.NewReader(tt.text), tt.from, int64(len(tt.text)), tt.n)
			if err != nil || tt.text[at:] != tt.want {
				t.Errorf("got %q, %v, want %q", tt.text[at:], err, tt.want)
			}
		})
	}
}
