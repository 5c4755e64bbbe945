package gateway

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestTheAccessLogIsCountedOnceAndKeptSmall(t *testing.T) {
	t.Parallel()
	const limit = 400
	reader := &logReader{path: filepath.Join(t.TempDir(), "access.json"), limit: limit}
	f, err := os.OpenFile(reader.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // as Envoy does
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := newCounters()
	line := func(kind, asked, served string) string {
		return fmt.Sprintf(`{"type":%q,"asked":%q,"served":%q}`+"\n", kind, asked, served)
	}
	whole := line("DownstreamEnd", "a:1,b:1", "b:1")
	for _, text := range []string{
		whole, line("DownstreamPeriodic", "a:1", "b:1"), line("DownstreamEnd", "a:1", "b:1"), line("DownstreamEnd", "", "b:1"),
		line("DownstreamEnd", "a:1", ""), whole[:9], whole[9:], "no JSON\n", strings.Repeat(whole, 20), whole,
	} {
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := reader.look(func(line []byte) { c.count(line, slog.New(slog.DiscardHandler)) }); err != nil {
			t.Fatal(err)
		}
	}
	for name, row := range map[string]struct{ got, want float64 }{
		"requests":   {testutil.ToFloat64(c.requests), 26},
		"mismatches": {testutil.ToFloat64(c.mismatches), 1},
		"unpicked":   {testutil.ToFloat64(c.unpicked), 1},
	} {
		if row.got != row.want {
			t.Errorf("%s: got %v, want %v", name, row.got, row.want)
		}
	}
	for _, path := range []string{reader.path, reader.path + ".1"} {
		if info, err := os.Stat(path); err != nil || info.Size() > limit {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}
