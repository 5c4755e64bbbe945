package controlplane

import (
	"strings"
	"testing"
)

func TestLastWords(t *testing.T) {
	t.Parallel()
	trace := strings.Repeat("at\n", 2*logLines) + "end"
	const full = `{"error":"write etcd: no space left on device"}`
	for _, row := range []struct{ rule, log, first, last string }{
		{"a short log is all of it", "a\nb", "a", "b"},
		{"of a long one the end", trace, "at", "end"},
		{"a full disk before a stack trace comes first", "x\n" + full + "\n" + trace, full, "end"},
	} {
		lines := strings.Split(lastWords(row.log), "\n")
		if lines[0] != row.first || lines[len(lines)-1] != row.last || len(lines) > logLines+2 {
			t.Errorf("%s: got %q", row.rule, lines)
		}
	}
}
