package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/podrunner"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// recorder starts core children, remembers their pids, and says when one that
// crashed is started again.
type recorder struct{ *supervisor }

func (r recorder) Start(spec process.Spec) (*process.Process, error) {
	p, err := r.starter.Start(spec)
	if err == nil && r.children.set(spec.Name, p.PID()) {
		r.Progress("%s crashed and was started again; see kubectl infer sandbox logs %s", spec.Name, spec.Name)
	}
	return p, err
}

// runGateway makes the controller; becomeReady waits for what it does.
func (s *supervisor) runGateway(ctx context.Context) error {
	g, err := gateway.New(gateway.Options{
		RESTConfig: s.control.AdminConfig(), EnvoyPath: s.paths[assets.Envoy],
		Dir: filepath.Join(string(s.folder), "gateway"), LogDir: s.folder.Logs(),
		Network: fmt.Sprintf("127.%d", s.network.n), BodyRouterAddress: netip.AddrPortFrom(s.network.bodyRouter(), bodyRouterPort).String(),
		PickerMode: s.PickerMode, Defects: s.Defects, ProvisionPickers: s.ProvisionPickers, LowPorts: s.LowPorts,
		Starter: recorder{s}, Log: s.log,
	})
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

func (s *supervisor) runPods(ctx context.Context) error {
	runner, err := podrunner.New(podrunner.Options{
		Config: s.control.AdminConfig(), N: s.network.n, Starter: s.starter, Executable: s.Executable,
		Dir: filepath.Join(string(s.folder), "pods"), LogDir: s.folder.PodLogs(), Log: s.log,
		Images: s.Images, KubeletTLS: s.control.KubeletTLS(),
	})
	if err != nil {
		return err
	}
	return runner.Run(ctx)
}

func ended(p *process.Process) error {
	if err := p.Err(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}
