package process

import (
	"bytes"
	"io"
	"os"
	"strings"
	"time"
)

// LogLimit is the size in bytes at which a log is moved aside. It is looked at
// every [logCheck], so a log can pass it by what a child writes in between.
const LogLimit = 16 << 20

const (
	logCheck = 5 * time.Second
	tailSize = 16 << 10
)

func (p *Process) trimLog() {
	ticker := time.NewTicker(logCheck)
	defer ticker.Stop()
	for {
		rotate(p.logPath, LogLimit)
		select {
		case <-p.done:
			return
		case <-ticker.C:
		}
	}
}

// rotate copies a log that passed limit to path.1 and empties it. The child
// holds the file open for appending, so the file itself must stay; lines
// written between copy and truncation are lost. It is housekeeping: when it
// does not work now, the next look tries again.
func rotate(path string, limit int64) {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= limit {
		return
	}
	from, err := os.Open(path)
	if err != nil {
		return
	}
	defer from.Close()
	to, err := os.OpenFile(path+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	defer to.Close()
	// The newest limit bytes are enough, however large the log grew.
	if _, err := io.Copy(to, io.NewSectionReader(from, info.Size()-limit, limit)); err == nil {
		_ = os.Truncate(path, 0)
	}
}

// tail returns the last n lines of a file, of its last 16 KiB at most.
func tail(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailSize {
		if _, err := f.Seek(-tailSize, io.SeekEnd); err != nil {
			return ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, tailSize))
	if err != nil {
		return ""
	}
	lines := strings.Split(string(bytes.TrimSpace(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
