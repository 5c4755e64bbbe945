package assets

import (
	"strings"
)

const prometheusVersion = "v3.15.0" // Go module v0.315.0

// prometheus is the server without the service discoveries of clouds, which are
// most of what it takes to build.
func prometheus() recipe {
	r := recipe{
		name: Prometheus, version: prometheusVersion, extra: true, ask: []string{"--version"},
		file: Prometheus, how: IsBuilt, needs: []Tool{Go},
		parse: func(output string) string {
			if v := afterWord("prometheus, version")(output); v != "" && v[0] != '(' {
				return "v" + v
			}
			return ""
		},
		origin: "Go module github.com/prometheus/prometheus v0.315.0",
		about:  "building from its Go module (about 2 min, once)",
		create: goBuild{
			module: "prometheus", main: "github.com/prometheus/prometheus/cmd/prometheus", tags: "remove_all_sd",
			ldflags: " -X github.com/prometheus/common/version.Version=" + strings.TrimPrefix(prometheusVersion, "v"),
		}.run,
		instead: "put a Prometheus 2.42 or newer on PATH",
	}
	r.candidates = func(*Store) []candidate {
		var all []candidate
		for _, path := range onPath(Prometheus) {
			all = append(all, candidate{path: path, source: FromPath, from: path, fits: fromVersion242})
		}
		return all
	}
	return r
}

// fromVersion242 says that a Prometheus knows native histograms.
func fromVersion242(version string) bool {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	return len(major) == 1 && (major > "2" || major == "2" && len(minor) == 2 && minor >= "42")
}
