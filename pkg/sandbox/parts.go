package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/podrunner"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

const (
	bodyRouterPort  = 9004
	bodyRouterGrace = 500 * time.Millisecond // nobody asks it any more
	gatewayPause    = 200 * time.Millisecond // before a gateway that ended is made anew
	logLines        = 12
)

// recorder starts Envoy for the gateway and remembers its pid.
type recorder struct{ *supervisor }

func (r recorder) Start(spec process.Spec) (*process.Process, error) {
	p, err := r.starter.Start(spec)
	if err == nil {
		r.children.set(spec.Name, p.PID())
	}
	return p, err
}

// runGateway keeps a gateway with its Envoy. One that ended after it was ready,
// as when Envoy crashes, is made anew and finds its addresses in the Gateways'
// statuses; one that never was ends the sandbox.
func (s *supervisor) runGateway(ctx context.Context) error {
	for {
		g, err := gateway.New(gateway.Options{
			RESTConfig: s.control.AdminConfig(), EnvoyPath: s.paths[assets.Envoy],
			Dir: filepath.Join(string(s.folder), "gateway"), LogDir: s.folder.Logs(),
			Network: fmt.Sprintf("127.%d", s.network.n), BodyRouterAddress: netip.AddrPortFrom(s.network.bodyRouter(), bodyRouterPort).String(),
			PickerMode: s.PickerMode, Starter: recorder{s}, Log: s.log,
		})
		if err != nil {
			return err
		}
		err = g.Run(ctx)
		select {
		case <-g.Ready():
		default:
			return err // becomeReady was waiting for it
		}
		if ctx.Err() != nil {
			return nil
		}
		s.log.Error("gateway ended, starting it again", "error", err)
		s.Progress("the gateway ended and is started again: %v", err)
		select {
		case <-ctx.Done():
		case <-time.After(gatewayPause):
		}
	}
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

// runBodyRouter keeps the gateway's body router; without it every request with
// a body is refused, so its end is the sandbox's.
func (s *supervisor) runBodyRouter(ctx context.Context) error {
	p, err := recorder{s}.Start(process.Spec{
		Name: podrunner.BodyRouter, Path: s.Executable,
		Args: []string{
			podrunner.BodyRouter, "--bind-address", s.network.bodyRouter().String(),
			fmt.Sprintf("--grpc-port=%d", bodyRouterPort), "--grpc-health-port=9005", "--metrics-port=9090", "--secure-serving=false",
		},
		LogPath: filepath.Join(s.folder.Logs(), podrunner.BodyRouter+".log"),
	})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		return fmt.Errorf("died (%w); its last log lines:\n%s", ended(p), p.LogTail(logLines))
	case <-ctx.Done():
		_ = p.Stop(bodyRouterGrace) // being killed harms nobody any more
		return nil
	}
}

func ended(p *process.Process) error {
	if err := p.Err(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}
