package assets

import (
	"context"
	"errors"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Tool is something that has to be installed beforehand.
type Tool string

// The tools; their values are how messages name them.
const (
	Go        Tool = "Go 1.26 or newer"
	Make      Tool = "make"
	Git       Tool = "git"
	Curl      Tool = "curl"
	CCompiler Tool = "a C compiler"
	Python    Tool = "Python 3.10 or newer with pip"
)

// AllTools is what a fresh machine needs for the demo and the tests. The C
// compiler is for the race detector.
func AllTools() []Tool { return []Tool{Go, Make, Git, Curl, CCompiler, Python} }

// CheckPlatform says in one sentence where a sandbox does not run.
func CheckPlatform() error { return checkPlatform(runtime.GOOS, runtime.GOARCH) }

func checkPlatform(goos, goarch string) error {
	if goos == "linux" && (goarch == "amd64" || goarch == "arm64") {
		return nil
	}
	return hint.Errorf("run it on a Linux machine or in a Linux virtual machine; every other command works here",
		"the sandbox runs on Linux on amd64 and arm64, not on %s/%s", goos, goarch)
}

// CheckPrerequisites names every tool of what that is missing or too old, in
// one error with a hint.
func CheckPrerequisites(ctx context.Context, what ...Tool) error {
	var problems []error
	var install []string
	for _, tool := range what {
		if err := tool.check(ctx); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", tool, err))
			install = append(install, string(tool))
		}
	}
	return hint.Wrap(errors.Join(problems...), "install "+strings.Join(install, ", "))
}

func (t Tool) check(ctx context.Context) error {
	switch t {
	case Go:
		return checkGo(ctx)
	case Python:
		return checkPython(ctx)
	case CCompiler:
		return onePresent(os.Getenv("CC"), "cc", "gcc", "clang")
	default:
		return onePresent(string(t))
	}
}

func onePresent(names ...string) error {
	var tried []string
	for _, name := range names {
		fields := strings.Fields(name) // CC may carry flags
		if len(fields) == 0 {
			continue
		}
		if _, err := exec.LookPath(fields[0]); err == nil {
			return nil
		}
		tried = append(tried, fields[0])
	}
	return fmt.Errorf("not on PATH (looked for %s)", strings.Join(tried, ", "))
}

func checkGo(ctx context.Context) error {
	output, err := capture(ctx, "go", "env", "GOVERSION")
	if err != nil {
		return err
	}
	found := strings.TrimSpace(output)
	if fields := strings.Fields(found); len(fields) == 0 || version.Compare(fields[0], "go1.26") < 0 {
		return fmt.Errorf("found %s", found)
	}
	return nil
}

func checkPython(ctx context.Context) error {
	output, err := capture(ctx, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
	if err != nil {
		return err
	}
	var major, minor int
	if _, err := fmt.Sscanf(output, "%d.%d", &major, &minor); err != nil || major != 3 || minor < 10 {
		return fmt.Errorf("found Python %s", strings.TrimSpace(output))
	}
	_, err = capture(ctx, "python3", "-m", "pip", "--version")
	return err
}
