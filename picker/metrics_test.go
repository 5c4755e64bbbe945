package picker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestModelLabelsAreBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry, "ns", "pool", 3)
	of := func(name string) *series { return m.of(models{name, name}, func(string) bool { return true }) }
	for i := range 50 {
		of(fmt.Sprintf("model-%d", i)).start()
	}
	of("").start()
	of(strings.Repeat("x", maxModelName+1)).start()
	of("not utf-8 \xff").start()
	of("model-0").start()
	want := map[string]float64{"model-0": 2, "model-1": 1, "model-2": 1, otherModel: 47 + 2, unknownModel: 1}
	for name, n := range want {
		if got := testutil.ToFloat64(m.started.WithLabelValues(name, name)); got != n {
			t.Errorf("%s: %v, want %v", name, got, n)
		}
	}
	if n := testutil.CollectAndCount(m.started); n != len(want) {
		t.Errorf("%d series", n)
	}
}

func TestCodeLabelsAreBounded(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{0: "other", 99: "other", 100: "100", 200: "200", 599: "599", 600: "other", 999: "other"} {
		if got := codeLabel(status); got != want {
			t.Errorf("%d: %s", status, got)
		}
	}
}
