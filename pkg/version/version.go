// Package version says which build this is. It imports nothing of the project,
// so that every program and package can ask.
package version

import (
	"runtime"
	"runtime/debug"
)

// Info describes one build.
type Info struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Get reads the build's own record: the module version and VCS revision the
// Go toolchain stamped, "(devel)" for a build from a work tree.
func Get() Info {
	info := Info{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	if build.Main.Version != "" {
		info.Version = build.Main.Version
	}
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" {
			info.Revision = s.Value
		}
	}
	return info
}
