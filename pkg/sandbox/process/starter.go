package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

// Spec says what to run.
type Spec struct {
	Name string   // for messages
	Path string   // the executable
	Args []string // without the program's own name
	Env  []string // nil inherits ours
	Dir  string   // "" is our working directory
	// LogPath receives stdout and stderr, appended, mode 0600, kept below
	// about [LogLimit] with one older file beside it (LogPath + ".1").
	LogPath string
}

// Starter makes children from one thread that lives until Close.
type Starter struct {
	requests chan func()
	quit     chan struct{}
	stopped  chan struct{}
	once     sync.Once

	mu   sync.Mutex
	live map[*Process]struct{}
}

// NewStarter starts the thread. Close it when no child is needed any more.
func NewStarter() *Starter {
	s := &Starter{
		requests: make(chan func()),
		quit:     make(chan struct{}),
		stopped:  make(chan struct{}),
		live:     make(map[*Process]struct{}),
	}
	go s.run()
	return s
}

func (s *Starter) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.stopped)
	for {
		select {
		case start := <-s.requests:
			start()
		case <-s.quit:
			return
		}
	}
}

// Start runs spec. The returned Process is running; its end is told by Done.
func (s *Starter) Start(spec Spec) (*Process, error) {
	p, err := s.start(spec)
	if err != nil {
		return nil, fmt.Errorf("start %s (%s): %w", spec.Name, spec.Path, err)
	}
	return p, nil
}

func (s *Starter) start(spec Spec) (*Process, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	log, err := openLog(spec.LogPath)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env, cmd.Dir = spec.Env, spec.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = bound()

	p := &Process{name: spec.Name, logPath: spec.LogPath, cmd: cmd, done: make(chan struct{})}
	if err := s.onThread(func() error { return s.launch(p) }); err != nil {
		return nil, err
	}
	go p.trimLog()
	go func() {
		p.wait()
		s.mu.Lock()
		delete(s.live, p)
		s.mu.Unlock()
		close(p.done)
	}()
	return p, nil
}

// launch runs on the starter's thread, so Close sees every child it made.
func (s *Starter) launch(p *Process) error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[p] = struct{}{}
	return nil
}

func (s *Starter) onThread(f func() error) error {
	result := make(chan error, 1)
	select {
	case s.requests <- func() { result <- f() }:
		return <-result
	case <-s.quit:
		return errors.New("the starter is closed")
	}
}

// Close kills whatever is still running, waits for it, and ends the thread.
func (s *Starter) Close() {
	s.once.Do(func() { close(s.quit) })
	<-s.stopped
	s.mu.Lock()
	left := make([]*Process, 0, len(s.live))
	for p := range s.live {
		left = append(left, p)
	}
	s.mu.Unlock()
	for _, p := range left {
		p.Kill()
	}
	for _, p := range left {
		<-p.Done()
	}
}

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}
