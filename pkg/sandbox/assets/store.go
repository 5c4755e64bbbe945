package assets

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Names of the assets.
const (
	KubeAPIServer     = "kube-apiserver"
	Kubectl           = "kubectl"
	Etcd              = "etcd"
	Envoy             = "envoy"
	Prometheus        = "prometheus" // for tests of the evidence taken from one
	GatewayAPICRDs    = "gateway-api-crds"
	InferencePoolCRDs = "inference-pool-crds"
)

// Source is the kind of place an asset came from.
type Source string

// The sources, in the order they are tried.
const (
	FromEnv      Source = "env"
	FromPath     Source = "path"
	FromEnvtest  Source = "envtest"
	FromCache    Source = "cache"
	IsBuilt      Source = "built"
	IsDownloaded Source = "downloaded"
)

// Asset is one file at hand: a program, or definitions as one YAML stream.
type Asset struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Path    string `json:"path"`
	Source  Source `json:"source"`
	// From says which variable, folder, module or package that was; for the
	// cache, where the cached file came from.
	From string `json:"from"`
	// SHA256 is in hex, and empty for files that the cache does not hold.
	SHA256 string `json:"sha256,omitempty"`
}

// Store is the cache folder and the places before it.
type Store struct {
	Dir string // one folder per asset

	os      string
	arch    string
	recipes []recipe
	every   time.Duration // between two signs of life
}

// NewStore uses $XDG_CACHE_HOME/kubectl-infer/assets, or ~/.cache/… without it.
func NewStore() (*Store, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, hint.Errorf("set XDG_CACHE_HOME to a folder you can write to", "find the cache folder: %w", err)
	}
	return &Store{
		Dir:     filepath.Join(cache, "kubectl-infer", "assets"),
		os:      runtime.GOOS,
		arch:    runtime.GOARCH,
		recipes: recipes(runtime.GOARCH),
		every:   10 * time.Second,
	}, nil
}

// Names lists every asset that a sandbox needs, in the order it needs them.
func (s *Store) Names() []string {
	names := make([]string, 0, len(s.recipes))
	for _, r := range s.recipes {
		if !r.extra {
			names = append(names, r.name)
		}
	}
	return names
}

// Find returns an asset that is there already. It makes nothing; the error's
// hint tells how to get it.
func (s *Store) Find(ctx context.Context, name string) (Asset, error) {
	r, err := s.recipe(name)
	if err != nil {
		return Asset{}, err
	}
	asset, found, err := s.locate(ctx, r, func(string, ...any) {})
	if err != nil {
		return Asset{}, err
	}
	if !found {
		return Asset{}, hint.Errorf("run `kubectl infer sandbox assets`, or "+r.instead,
			"find %s: neither in the environment nor in %s", r.title(), s.Dir)
	}
	return asset, nil
}

// Obtain returns the named assets, those of Names when none is named, and makes
// those that are nowhere. That can take minutes; progress, if not nil, gets a
// line when something begins or ends and every ten seconds in between. Errors
// say which asset, from where, and hint at what to set instead.
func (s *Store) Obtain(ctx context.Context, progress func(line string), names ...string) ([]Asset, error) {
	if err := checkPlatform(s.os, s.arch); err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(string) {}
	}
	if len(names) == 0 {
		names = s.Names()
	}
	obtained := make([]Asset, 0, len(names))
	for _, name := range names {
		r, err := s.recipe(name)
		if err != nil {
			return nil, err
		}
		say := func(format string, args ...any) { progress(r.title() + ": " + fmt.Sprintf(format, args...)) }
		asset, err := s.obtain(ctx, r, say)
		if err != nil {
			return nil, err
		}
		obtained = append(obtained, asset)
	}
	return obtained, nil
}

func (s *Store) obtain(ctx context.Context, r recipe, say printer) (Asset, error) {
	asset, found, err := s.locate(ctx, r, say)
	if found || err != nil {
		return asset, err
	}
	unlock, err := s.lock(ctx, r, say)
	if err != nil {
		return Asset{}, fmt.Errorf("lock %s in %s: %w", r.title(), s.Dir, err)
	}
	defer unlock()
	if asset, found = s.cached(ctx, r); found { // made by the run we waited for
		return asset, nil
	}
	asset, err = s.create(ctx, r, say)
	switch {
	case ctx.Err() != nil && err != nil: // nothing to advise: it was called off
		return Asset{}, fmt.Errorf("obtain %s: %w", r.title(), ctx.Err())
	case err != nil:
		advice := hint.Of(err) // a missing tool is the better advice
		if advice == "" {
			advice = r.instead + alternative(r)
		}
		return Asset{}, hint.Errorf(advice, "obtain %s from %s: %w", r.title(), r.origin, err)
	}
	return asset, nil
}

// locate tries every place that needs no work.
func (s *Store) locate(ctx context.Context, r recipe, say printer) (Asset, bool, error) {
	for _, c := range r.candidates(s) {
		asset, err := s.try(ctx, r, c)
		switch {
		case err == nil:
			return asset, true, nil
		case ctx.Err() != nil:
			return Asset{}, false, ctx.Err()
		case c.binding:
			return Asset{}, false, hint.Wrap(fmt.Errorf("use %s: %w", c.from, err), r.instead+", or unset it")
		case c.source == FromEnv:
			say("%s is passed over: %v", c.from, err)
		}
	}
	asset, found := s.cached(ctx, r)
	return asset, found, nil
}

func (s *Store) try(ctx context.Context, r recipe, c candidate) (Asset, error) {
	version, err := r.probe(ctx, c.path)
	if err != nil {
		return Asset{}, err
	}
	if !c.fits(version) {
		return Asset{}, fmt.Errorf("%s is version %s", c.path, version)
	}
	return Asset{Name: r.name, Version: version, Path: c.path, Source: c.source, From: c.from}, nil
}

func (s *Store) recipe(name string) (recipe, error) {
	i := slices.IndexFunc(s.recipes, func(r recipe) bool { return r.name == name })
	if i < 0 {
		return recipe{}, hint.Errorf("known assets: "+strings.Join(s.Names(), ", "), "find asset %q: not known", name)
	}
	return s.recipes[i], nil
}

// alternative adds what this machine could use besides.
func alternative(r recipe) string {
	if r.name != Envoy || len(onPath("func-e")) == 0 {
		return ""
	}
	return fmt.Sprintf("; func-e is on PATH: `func-e use %s`, then set ENVOY_PATH to what `func-e which` prints", r.version)
}
