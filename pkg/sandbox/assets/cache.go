package assets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
)

const manifestName = "manifest.json"

// manifest records where a cached file came from and what it was then.
type manifest struct {
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	Source   Source    `json:"source"`
	From     string    `json:"from"`
	Content  string    `json:"content,omitempty"`
	SHA256   string    `json:"sha256"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// folder is an asset's place in the cache.
func (s *Store) folder(r recipe) string {
	name := r.name + "-" + r.version
	if !r.portable {
		name += "-" + s.os + "-" + s.arch
	}
	return filepath.Join(s.Dir, name)
}

// cached returns the asset if the cache holds it unharmed. A file without a
// manifest, put there by hand, is adopted when it reports the right version.
func (s *Store) cached(ctx context.Context, r recipe) (Asset, bool) {
	dir := s.folder(r)
	path := filepath.Join(dir, r.file)
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return Asset{}, false
	}
	m, err := readManifest(dir)
	switch {
	case err == nil && m.Content != r.content:
		return Asset{}, false
	case err == nil && m.Size == info.Size() && m.Modified.Equal(info.ModTime()):
	case err == nil:
		sum, err := hashFile(path)
		if err != nil || sum != m.SHA256 {
			return Asset{}, false
		}
		m.Modified = info.ModTime()
		_ = writeManifest(dir, m) // only saves the next run this work
	default:
		if r.ask == nil {
			return Asset{}, false
		}
		if version, err := r.probe(ctx, path); err != nil || !r.exactly(version) {
			return Asset{}, false
		}
		if m, err = record(r, dir, FromCache, "put there by hand"); err != nil {
			return Asset{}, false
		}
	}
	from := m.From
	if m.Source != FromCache {
		from = string(m.Source) + " from " + from
	}
	return Asset{Name: r.name, Version: r.version, Path: path, Source: FromCache, From: from, SHA256: m.SHA256}, true
}

// create makes the asset beside its place and moves it there when it is whole
// and, if it is a program, reports the right version. The lock must be held.
func (s *Store) create(ctx context.Context, r recipe, say printer) (Asset, error) {
	if err := CheckPrerequisites(ctx, r.needs...); err != nil {
		return Asset{}, err
	}
	began := time.Now()
	target := s.folder(r)
	scratch := target + ".tmp" // whatever is there was left by a killed run
	defer os.RemoveAll(scratch)
	if err := os.RemoveAll(scratch); err != nil {
		return Asset{}, err
	}
	j := job{work: filepath.Join(scratch, "work"), out: filepath.Join(scratch, "done", r.file)}
	for _, dir := range []string{j.work, filepath.Dir(j.out)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return Asset{}, err
		}
	}
	say("%s …", r.about)
	stop := s.signOfLife(began, say)
	err := r.create(ctx, j)
	stop()
	if err != nil {
		return Asset{}, err
	}
	if r.ask != nil {
		version, err := r.probe(ctx, j.out)
		if err == nil && !r.exactly(version) {
			err = fmt.Errorf("it reports version %s", version)
		}
		if err != nil {
			return Asset{}, fmt.Errorf("check the result: %w", err)
		}
	}
	m, err := record(r, filepath.Dir(j.out), r.how, r.origin)
	if err != nil {
		return Asset{}, err
	}
	if err := os.RemoveAll(target); err != nil {
		return Asset{}, err
	}
	if err := os.Rename(filepath.Dir(j.out), target); err != nil {
		return Asset{}, err
	}
	say("ready after %s", seconds(time.Since(began)))
	path := filepath.Join(target, r.file)
	return Asset{Name: r.name, Version: r.version, Path: path, Source: r.how, From: r.origin, SHA256: m.SHA256}, nil
}

// lock keeps other runs, and other goroutines of this one, off the asset.
func (s *Store) lock(ctx context.Context, r recipe, say printer) (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	type result struct {
		unlock func()
		err    error
	}
	locked := make(chan result)
	go func() {
		unlock, err := lockedfile.MutexAt(s.folder(r) + ".lock").Lock()
		select {
		case locked <- result{unlock, err}:
		case <-ctx.Done():
			if err == nil {
				unlock()
			}
		}
	}()
	began, tick := time.Now(), time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case l := <-locked:
			return l.unlock, l.err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
			say("waiting for another run to finish it, %s", seconds(time.Since(began)))
		}
	}
}

// record hashes dir's file and writes its manifest.
func record(r recipe, dir string, source Source, from string) (manifest, error) {
	path := filepath.Join(dir, r.file)
	info, err := os.Stat(path)
	if err != nil {
		return manifest{}, err
	}
	sum, err := hashFile(path)
	if err != nil {
		return manifest{}, err
	}
	m := manifest{
		Name: r.name, Version: r.version, Source: source, From: from, Content: r.content,
		SHA256: sum, Size: info.Size(), Modified: info.ModTime(),
	}
	return m, writeManifest(dir, m)
}

func readManifest(dir string) (m manifest, err error) {
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(data, &m)
}

// writeManifest replaces the manifest in one step: readers take no lock.
func writeManifest(dir string, m manifest) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, manifestName+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	_, err = f.Write(append(data, '\n'))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, manifestName))
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
