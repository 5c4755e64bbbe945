package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/podrunner"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// Options says which sandbox to run.
type Options struct {
	Name       string // see CheckName
	Home       Home   // where its state folder goes
	Executable string // the multi-call binary: body router, picker, simulator

	Images           podrunner.Images  // rows of the image table of the user's own
	PickerMode       xds.PickerMode    // xds.PickerBuffered by default
	Defects          translate.Defects // wrongs of real gateways
	LowPorts         bool              // these two as gateway.Options has them
	ProvisionPickers bool
	Audit            bool         // the API server writes audit.log among the logs
	ModelRewrite     RewriteShape // ShapeTargets by default

	Progress func(format string, args ...any)             // what is being done, a line each; may be nil
	Ready    func(ctx context.Context, state State) error // called once everything answers; may be nil
}

// supervisor is one run.
type supervisor struct {
	Options
	folder   Folder
	network  network
	starter  *process.Starter
	log      *slog.Logger
	paths    map[string]string // asset name → path
	control  *controlplane.ControlPlane
	children *children
	began    time.Time
}

// Run brings a sandbox up, calls Ready, and keeps it until ctx ends, Ready
// returns an error (ErrDown for none), or a part dies, whose reason it returns.
// When it returns, every process is gone and the state folder is removed.
func Run(ctx context.Context, o Options) (err error) {
	if err := CheckName(o.Name); err != nil {
		return err
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	defer func() { err = adviseOnDisk(err, o.Home) }()
	s := &supervisor{Options: o, folder: o.Home.Folder(o.Name), children: newChildren(), began: time.Now()}
	held, err := s.folder.take(o.Name)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.folder.remove())
		held.release()
	}()
	if s.network, err = claim(); err != nil {
		return err
	}
	defer s.network.lock.Close()
	if err := s.network.checkPorts(); err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(s.folder.Logs(), "supervisor.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the supervisor's log: %w", err)
	}
	defer logFile.Close()
	s.log = slog.New(slog.NewTextHandler(logFile, nil))
	klog.SetSlogLogger(s.log) // client-go's only way out; the terminal is not its place
	defer klog.ClearLogger()
	s.starter = process.NewStarter()
	defer s.starter.Close()
	return s.run(ctx)
}

// adviseOnDisk hints at what a full disk asks for, whoever met it: us, or a child
// in its last log lines.
func adviseOnDisk(err error, home Home) error {
	if err == nil || !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
		return err
	}
	return hint.Wrap(err, "free some space (a sandbox needs about 300 MB) where "+home.Dir+" is, or set XDG_CACHE_HOME to a folder on another disk")
}

func (s *supervisor) run(ctx context.Context) error {
	if err := s.obtain(ctx); err != nil {
		return err
	}
	if err := s.startControlPlane(ctx); err != nil {
		return err
	}
	defer s.control.Stop()
	parts := newGroup(ctx)
	parts.start("control plane", s.watchControlPlane)
	parts.start("body router", s.runBodyRouter)
	parts.start("gateway", s.runGateway)
	parts.start("pod runner", s.runPods)
	parts.start("ready", s.becomeReady)
	defer s.log.Info("going down")
	return parts.wait()
}

// obtain finds the assets, or makes them, which takes minutes the first time.
func (s *supervisor) obtain(ctx context.Context) error {
	store, err := assets.NewStore()
	if err != nil {
		return err
	}
	say := func(line string) { s.Progress("%s", line) }
	found, err := store.Obtain(ctx, say)
	if err != nil {
		return err
	}
	if s.ModelRewrite == ShapeSplit {
		split, err := store.Obtain(ctx, say, assets.ModelRewriteSplitCRDs)
		if err != nil {
			return err
		}
		found = append(found, split...)
	}
	s.paths = map[string]string{}
	for _, a := range found {
		s.paths[a.Name] = a.Path
	}
	return nil
}

func (s *supervisor) startControlPlane(ctx context.Context) error {
	s.Progress("starting etcd and kube-apiserver on %s", s.network.controlPlane())
	control, err := controlplane.Start(ctx, controlplane.Options{
		Starter: s.starter, Etcd: s.paths[assets.Etcd], KubeAPIServer: s.paths[assets.KubeAPIServer],
		Dir: filepath.Join(string(s.folder), "control"), Address: s.network.controlPlane().String(), LogDir: s.folder.Logs(),
		NodeAddress: s.network.node().String(), Audit: s.Audit,
	})
	if err != nil {
		return err
	}
	s.control = control
	for name, pid := range control.PIDs() {
		s.children.set(name, pid)
	}
	if err := s.prepareAPI(ctx); err != nil {
		control.Stop()
		return err
	}
	return nil
}

func (s *supervisor) prepareAPI(ctx context.Context) error {
	if err := s.control.WriteKubeconfig(s.folder.Kubeconfig(), ContextName(s.Name)); err != nil {
		return err
	}
	documents, err := definitions(s.paths, s.ModelRewrite)
	if err != nil {
		return err
	}
	s.Progress("installing the Gateway API and InferencePool definitions")
	if err := controlplane.InstallCRDs(ctx, s.control.AdminConfig(), documents...); err != nil {
		return err
	}
	return createGateway(ctx, s.control.AdminConfig())
}

func (s *supervisor) watchControlPlane(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.control.Done():
		return hint.Wrap(s.control.Err(), "start it again: kubectl infer sandbox up --name "+s.Name)
	}
}

// becomeReady waits for the Gateway, tells the world, and ends with the sandbox.
func (s *supervisor) becomeReady(ctx context.Context) error {
	s.Progress("starting Envoy, the body router and the pod runner")
	address, err := awaitGateway(ctx, s.control.AdminConfig())
	if err != nil {
		return err
	}
	state := State{
		Name: s.Name, Phase: Running, Network: s.network.String(), PID: os.Getpid(),
		Kubeconfig: s.folder.Kubeconfig(), Context: ContextName(s.Name), Gateway: address, Folder: s.folder, Started: s.began,
	}
	base := state
	state.PIDs, state.Restarts = s.children.onChange(func(pids, restarts map[string]int) {
		now := base
		now.PIDs, now.Restarts = pids, restarts
		if err := now.write(); err != nil {
			s.log.Warn("state not written", "error", err)
		}
	})
	if err := state.write(); err != nil {
		return err
	}
	s.log.Info("ready", "after", time.Since(s.began), "gateway", address)
	if s.Ready != nil {
		if err := s.Ready(ctx, state); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}
