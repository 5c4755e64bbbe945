package controlplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

const (
	apiPort    = "6443"
	readyLimit = 60 * time.Second
	stopGrace  = 5 * time.Second
	logLines   = 12
	traceLines = 200
)

// Options says what to run and where.
type Options struct {
	Starter       *process.Starter
	Etcd          string // path of the etcd binary
	KubeAPIServer string // path of the kube-apiserver binary
	Dir           string // state folder: credentials, certificates, etcd data; created 0700
	Address       string // loopback address of the API server's port 6443, such as 127.7.0.1
	LogDir        string // etcd.log and kube-apiserver.log
	Audit         bool   // write every request into audit.log of LogDir
	NodeAddress   string // of the kubelet that KubeletTLS is for; "" is Address
}

// ControlPlane is a running etcd and kube-apiserver.
type ControlPlane struct {
	host   string
	ca     []byte
	tokens map[string]string // by user

	kubelet *tls.Config

	etcd, api *process.Process
	stopOnce  sync.Once
	stopping  chan struct{}
	done      chan struct{}
	err       error // written before done is closed
}

// Start returns a control plane that answers, usually after 2 to 4 seconds. It
// gives up after a minute, when ctx ends, or when a child dies; then nothing of
// it is left running. Ending ctx later does not stop the control plane.
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	tokens, err := prepare(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("prepare control plane in %s: %w", o.Dir, err)
	}
	kubelet, err := prepareKubelet(o.Dir, cmp.Or(o.NodeAddress, o.Address))
	if err != nil {
		return nil, fmt.Errorf("prepare certificates of the kubelet: %w", err)
	}
	c := &ControlPlane{
		host:     "https://" + net.JoinHostPort(o.Address, apiPort),
		tokens:   tokens,
		kubelet:  kubelet,
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
	}
	if err := c.launch(o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	if err := c.bringUp(ctx, o); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start control plane on %s: %w", c.host, err)
	}
	return c, nil
}

func (c *ControlPlane) launch(o Options) error {
	audit, err := auditArgs(o)
	if err != nil {
		return err
	}
	c.etcd, err = o.Starter.Start(process.Spec{
		Name: "etcd", Path: o.Etcd, Args: etcdArgs(),
		Dir: o.Dir, LogPath: filepath.Join(o.LogDir, "etcd.log"),
	})
	if err != nil {
		return err
	}
	c.api, err = o.Starter.Start(process.Spec{
		Name: "kube-apiserver", Path: o.KubeAPIServer, Args: append(apiArgs(o.Address), audit...),
		Dir: o.Dir, LogPath: filepath.Join(o.LogDir, "kube-apiserver.log"),
	})
	if err != nil {
		_ = c.etcd.Stop(0)
		return err
	}
	go c.watch()
	return nil
}

// bringUp waits for readiness and makes the defaults, or names the child whose
// death made that pointless.
func (c *ControlPlane) bringUp(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := c.awaitReady(ctx, filepath.Join(o.Dir, servingCert))
	if err == nil {
		err = EnsureDefaults(ctx, c.AdminConfig(), "default")
	}
	if err != nil {
		if died := c.Err(); died != nil {
			return hint.Wrap(died, "read the whole log in "+o.LogDir)
		}
		return fmt.Errorf("%w; last lines of kube-apiserver's log:\n%s", err, c.api.LogTail(logLines))
	}
	return nil
}

// watch closes done at the first death or at Stop.
func (c *ControlPlane) watch() {
	defer close(c.done)
	select {
	case <-c.stopping:
	case <-c.etcd.Done():
		c.err = death(c.etcd)
	case <-c.api.Done():
		c.err = death(c.api)
	}
}

func death(p *process.Process) error {
	how := p.Err()
	if how == nil {
		how = fmt.Errorf("%s ended by itself", p.Name())
	}
	return fmt.Errorf("%w; its last log lines:\n%s", how, lastWords(p.LogTail(traceLines)))
}

// lastWords are the last lines of a log, and before them the one that tells of a
// full disk, which etcd buries under a stack trace.
func lastWords(log string) string {
	lines := strings.Split(log, "\n")
	last := lines[max(0, len(lines)-logLines):]
	for _, line := range lines[:len(lines)-len(last)] {
		if strings.Contains(line, unix.ENOSPC.Error()) {
			return line + "\n…\n" + strings.Join(last, "\n")
		}
	}
	return strings.Join(last, "\n")
}

// Done is closed when etcd or kube-apiserver has died, or by Stop. The control
// plane is of no use from then on; Stop ends the other child.
func (c *ControlPlane) Done() <-chan struct{} { return c.done }

// Err names the child that died and quotes its last log lines. It is nil while
// both run, and after a Stop that came first.
func (c *ControlPlane) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// PIDs are the process ids of both children, by name.
func (c *ControlPlane) PIDs() map[string]int {
	return map[string]int{c.etcd.Name(): c.etcd.PID(), c.api.Name(): c.api.PID()}
}

// Stop ends both children and waits for them; whatever does not obey SIGTERM
// within 5 seconds is killed, and at once when the other has died. Files stay.
func (c *ControlPlane) Stop() {
	c.stopOnce.Do(func() { close(c.stopping) })
	<-c.done
	grace := stopGrace
	if c.err != nil {
		grace = 0
	}
	_ = c.api.Stop(grace) // being killed loses nothing that is kept
	_ = c.etcd.Stop(grace)
}

// Users of every control plane.
const (
	AdminUser = "admin"    // in system:masters
	CIUser    = "infer-ci" // without any right until a role is bound to it
)

// AdminConfig is the client configuration of [AdminUser].
func (c *ControlPlane) AdminConfig() *rest.Config { return c.Config(AdminUser) }

// Config is the client configuration of a user; an unknown user has no token
// and is anonymous to the API server.
func (c *ControlPlane) Config(user string) *rest.Config {
	return &rest.Config{
		Host:            c.host,
		BearerToken:     c.tokens[user],
		TLSClientConfig: rest.TLSClientConfig{CAData: c.ca},
		QPS:             200, // a local server: the default of 5 would only make us slow
		Burst:           400,
	}
}

// awaitReady reads the certificate that the API server signs for itself at its
// start, then asks for /readyz until it is ok.
func (c *ControlPlane) awaitReady(ctx context.Context, certPath string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("no answer yet")
	for {
		if ca, err := os.ReadFile(certPath); err == nil {
			c.ca = ca
			if last = c.ready(ctx); last == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for /readyz: %w (last: %w)", ctx.Err(), last)
		case <-tick.C:
		}
	}
}
