package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// DefaultName is the sandbox meant when none is named.
const DefaultName = "default"

// Home is the folder that holds one state folder per sandbox.
type Home struct{ Dir string }

// NewHome uses $XDG_CACHE_HOME/kubectl-infer/sandboxes, or ~/.cache/… without it.
func NewHome() (Home, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Home{}, hint.Errorf("set XDG_CACHE_HOME to a folder you can write to", "find the cache folder: %w", err)
	}
	return Home{Dir: filepath.Join(cache, "kubectl-infer", "sandboxes")}, nil
}

// Folder is the state folder of a sandbox.
func (h Home) Folder(name string) Folder { return Folder(filepath.Join(h.Dir, name)) }

// Look reports whether a sandbox of that name is there, and what it says of itself.
func (h Home) Look(name string) (State, bool) { return h.Folder(name).look(name) }

// reasonFile says why a sandbox ended by itself; the next `up` by that name
// removes it.
func (h Home) reasonFile(name string) string { return filepath.Join(h.Dir, name+".ended") }

// RecordEnd records why a sandbox ended by itself. Whoever asks for it by name, or
// lists sandboxes, is told.
func (h Home) RecordEnd(name string, why error) error {
	if err := os.WriteFile(h.reasonFile(name), []byte(why.Error()+"\n"), 0o600); err != nil {
		return fmt.Errorf("record why sandbox %q ended: %w", name, err)
	}
	return nil
}

// EndOf is what RecordEnd recorded, or "".
func (h Home) EndOf(name string) string {
	text, err := os.ReadFile(h.reasonFile(name))
	if err != nil {
		return "" // there is none
	}
	return strings.TrimSpace(string(text))
}

// ForgetEnd forgets why an earlier sandbox of that name ended.
func (h Home) ForgetEnd(name string) error {
	if err := os.Remove(h.reasonFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget why sandbox %q ended: %w", name, err)
	}
	return nil
}

// Ended names the sandboxes that ended by themselves.
func (h Home) Ended() []string {
	paths, err := filepath.Glob(h.reasonFile("*"))
	if err != nil {
		return nil // the pattern is sound
	}
	for i, path := range paths {
		paths[i] = strings.TrimSuffix(filepath.Base(path), ".ended")
	}
	return paths
}

// AlreadyRunning is the error of a second sandbox by the same name.
func AlreadyRunning(name string) error {
	return hint.Errorf("use it, choose another --name, or take it down: kubectl infer sandbox down --name "+name,
		"sandbox %q is already running", name)
}

// CheckName refuses what cannot be part of a context and a folder's name.
func CheckName(name string) error {
	if len(name) > 40 || !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`).MatchString(name) {
		return hint.Errorf("use up to 40 lower-case letters, digits and dashes", "sandbox name %q is not valid", name)
	}
	return nil
}

// List returns the sandboxes that are running or coming up, by name. It removes
// the folders that killed ones left, and names those in cleared.
func (h Home) List() (states []State, cleared []string, err error) {
	entries, err := os.ReadDir(h.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list sandboxes: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		folder := h.Folder(e.Name())
		if state, held := folder.look(e.Name()); held {
			states = append(states, state)
			continue
		}
		removed, err := folder.clear()
		if err != nil {
			return states, cleared, err
		}
		if removed {
			cleared = append(cleared, e.Name())
		}
	}
	return states, cleared, nil
}

// Find returns the sandbox of that name, or with "" the only one there is.
func (h Home) Find(name string) (State, error) {
	states, _, err := h.List()
	if err != nil {
		return State{}, err
	}
	var names []string
	for _, s := range states {
		if s.Name == name || (name == "" && len(states) == 1) {
			return s, nil
		}
		names = append(names, s.Name)
	}
	switch {
	case name != "" && h.EndOf(name) != "":
		return State{}, hint.Errorf("kubectl infer sandbox up --name "+name, "sandbox %q ended by itself: %s", name, h.EndOf(name))
	case len(states) == 0 && name == "":
		return State{}, hint.Errorf("kubectl infer sandbox up", "no sandbox is running")
	case name == "":
		return State{}, hint.Errorf("choose one with --name: "+strings.Join(names, ", "), "%d sandboxes are running", len(states))
	case len(states) == 0:
		return State{}, hint.Errorf("kubectl infer sandbox up --name "+name, "sandbox %q is not running, and no other is", name)
	}
	return State{}, hint.Errorf("running: "+strings.Join(names, ", "), "sandbox %q is not running", name)
}
