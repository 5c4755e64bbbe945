package bodyrouter

import (
	"strings"
	"testing"
)

// BenchmarkScanner reads 1 MiB in slices of 16 KiB, as Envoy sends them.
func BenchmarkScanner(b *testing.B) {
	message := `{"role":"user","content":"` + strings.Repeat(`He said \"yes\" \u2014 twice.\n\n\tThen `, 600) + `"},`
	bodies := map[string]string{
		"one long string": `{"model":"qwen","prompt":"` + strings.Repeat("the quick brown fox ", 52_000) + `"}`,
		"chat of escapes": `{"messages":[` + strings.TrimSuffix(strings.Repeat(message, 40), ",") + `],"model":"qwen"}`,
		"Chinese":         `{"model":"qwen","prompt":"` + strings.Repeat("敏捷的棕色狐狸", 50_000) + `"}`,
		"token ids":       `{"model":"qwen","prompt":[1` + strings.Repeat(",15496", 170_000) + `]}`,
	}
	for name, body := range bodies {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			scanner, whole := NewScanner(1024), []byte(body)
			for b.Loop() {
				*scanner = Scanner{maxKeys: 1024}
				for rest := whole; len(rest) > 0; {
					n := min(len(rest), 16<<10)
					if err := scanner.Scan(rest[:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
			}
		})
	}
}
