package assets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	outputTail  = 15 // lines of a failed tool that an error quotes
	outputBytes = 8 << 10
)

// printer writes one progress line about one asset.
type printer func(format string, args ...any)

// signOfLife says every so often that work goes on, until stop is called.
func (s *Store) signOfLife(began time.Time, say printer) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(s.every)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				say("still at it, %s", seconds(time.Since(began)))
			}
		}
	}()
	return func() { close(quit); <-ended }
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }

// capture runs a program and returns all it printed.
func capture(ctx context.Context, path string, args ...string) (string, error) {
	return runTool(ctx, "", nil, path, args...)
}

// runTool runs a program in dir with env added to ours, and returns the last 8
// KiB of its output. The error quotes the last lines.
func runTool(ctx context.Context, dir string, env []string, path string, args ...string) (string, error) {
	var out tailBuffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil {
		return out.String(), nil
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	quoted := strings.Join(lines[max(0, len(lines)-outputTail):], "\n")
	if quoted != "" {
		quoted = "\n" + quoted
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) || ctx.Err() != nil {
		return "", fmt.Errorf("%s: %w%s", strings.Join(append([]string{filepath.Base(path)}, args...), " "), err, quoted)
	}
	return "", err // names the program already
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct {
	mu   sync.Mutex
	data []byte
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	if over := len(b.data) - outputBytes; over > 0 {
		b.data = append(b.data[:0], b.data[over:]...)
	}
	return len(p), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.data)
}

// onPath lists every executable of that name, in the order of PATH.
func onPath(name string) []string {
	var found []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if path := filepath.Join(dir, name); filepath.IsAbs(dir) && executable(path) {
			found = append(found, path)
		}
	}
	return found
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
