package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Folder is the state folder of one sandbox.
type Folder string

// Paths inside the folder.
func (f Folder) lockFile() string  { return filepath.Join(string(f), "lock") }
func (f Folder) stateFile() string { return filepath.Join(string(f), "state.json") }

// Kubeconfig is the administrator's.
func (f Folder) Kubeconfig() string { return filepath.Join(string(f), "kubeconfig") }

// Logs holds COMPONENT.log.
func (f Folder) Logs() string { return filepath.Join(string(f), "logs") }

// PodLogs holds NAMESPACE_POD_CONTAINER.log.
func (f Folder) PodLogs() string { return filepath.Join(f.Logs(), "pods") }

// StartLog is what a detached supervisor prints.
func (f Folder) StartLog() string { return filepath.Join(f.Logs(), "up.log") }

// State describes a running sandbox; state.json holds it.
type State struct {
	Name       string         `json:"name"`
	Phase      Phase          `json:"phase"`
	Network    string         `json:"network,omitempty"`  // 127.N.0.0/16
	PID        int            `json:"pid"`                // the supervisor's
	PIDs       map[string]int `json:"pids,omitempty"`     // of its core children, by name
	Restarts   map[string]int `json:"restarts,omitempty"` // of those that crashed and were started again
	Kubeconfig string         `json:"kubeconfig,omitempty"`
	Context    string         `json:"context,omitempty"`
	Gateway    string         `json:"gateway,omitempty"` // address:port
	Folder     Folder         `json:"folder"`
	Started    time.Time      `json:"started,omitzero"`
}

// Phase is Starting until state.json is written, then Running.
type Phase string

// The phases of a sandbox that is there.
const (
	Starting Phase = "Starting"
	Running  Phase = "Running"
)

// hold is the lock on a folder; the kernel releases it when the process dies.
type hold struct{ file *os.File }

// take makes the folder, locks it, and empties it of what a killed sandbox
// left, the start log apart, which a parent may be writing to.
func (f Folder) take(name string) (*hold, error) {
	h, err := f.tryLock(unix.LOCK_EX, true)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, AlreadyRunning(name)
	}
	if err != nil {
		return nil, hint.Errorf("set XDG_CACHE_HOME to a folder you can write to", "lock the folder of sandbox %q: %w", name, err)
	}
	if err := f.empty(); err != nil {
		h.release()
		return nil, fmt.Errorf("clear the folder of sandbox %q: %w", name, err)
	}
	if err := h.file.Truncate(0); err != nil {
		h.release()
		return nil, err
	}
	if _, err := h.file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// tryLock retries for a moment when it is not alone: a look (LOCK_SH) is over
// in microseconds, and a folder being removed is made anew.
func (f Folder) tryLock(how int, create bool) (*hold, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	var err error
	for range 10 {
		if create {
			if err := os.MkdirAll(f.Logs(), 0o700); err != nil {
				return nil, err
			}
		}
		var file *os.File
		if file, err = os.OpenFile(f.lockFile(), flags, 0o600); err != nil {
			return nil, err
		}
		if err = unix.Flock(int(file.Fd()), how|unix.LOCK_NB); err == nil {
			if f.current(file) {
				return &hold{file}, nil
			}
			err = errors.New("the folder is being removed")
		}
		file.Close()
		if how == unix.LOCK_SH {
			return nil, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, err
}

// current reports whether file is still what the lock's path names.
func (f Folder) current(file *os.File) bool {
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(f.lockFile())
	return err == nil && os.SameFile(ours, named)
}

func (h *hold) release() { h.file.Close() }

// look reports whether a supervisor holds the folder, and what it says of itself.
func (f Folder) look(name string) (State, bool) {
	h, err := f.tryLock(unix.LOCK_SH, false)
	if err == nil {
		h.release()
		return State{}, false
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return State{}, false
	}
	state := State{Name: name, Phase: Starting, Folder: f}
	if text, err := os.ReadFile(f.stateFile()); err == nil && json.Unmarshal(text, &state) == nil {
		return state, true
	}
	if text, err := os.ReadFile(f.lockFile()); err == nil {
		state.PID, _ = strconv.Atoi(strings.TrimSpace(string(text))) // 0 in the instant before it is written
	}
	return state, true
}

// clear removes a folder nobody holds and reports whether it did.
func (f Folder) clear() (bool, error) {
	h, err := f.tryLock(unix.LOCK_EX, true)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil // somebody just took it
	}
	if err != nil {
		return false, fmt.Errorf("clear %s: %w", f, err)
	}
	defer h.release()
	return true, f.remove()
}

func (f Folder) remove() error {
	if err := os.RemoveAll(string(f)); err != nil {
		return fmt.Errorf("remove %s: %w", f, err)
	}
	return nil
}

// empty removes everything but the lock and the start log.
func (f Folder) empty() error {
	for _, dir := range []string{string(f), f.Logs()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if path == f.lockFile() || path == f.Logs() || path == f.StartLog() {
				continue
			}
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// write stores the state at once or not at all.
func (s State) write() error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := s.Folder.stateFile()
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write state of sandbox %q: %w", s.Name, err)
	}
	return os.Rename(path+".new", path)
}

// ContextName is the kubeconfig context of a sandbox.
func ContextName(name string) string {
	if name == DefaultName {
		return "kubectl-infer-sandbox"
	}
	return "kubectl-infer-sandbox-" + name
}
