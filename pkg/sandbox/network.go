package sandbox

import (
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Sandboxes use 127.10.0.0/16 to 127.99.0.0/16.
const (
	firstNetwork = 10
	lastNetwork  = 99
)

// network is 127.N.0.0/16, held for as long as lock is open.
type network struct {
	n    byte
	lock io.Closer
}

// claim takes the first network that no other sandbox on this machine holds.
func claim() (network, error) {
	for n := firstNetwork; n <= lastNetwork; n++ {
		if lock, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:9999", n)); err == nil {
			return network{n: byte(n), lock: lock}, nil
		}
	}
	return network{}, hint.Errorf("take one down: kubectl infer sandbox down --name NAME",
		"claim a network: 127.%d.0.0/16 to 127.%d.0.0/16 are all in use", firstNetwork, lastNetwork)
}

func (w network) String() string { return fmt.Sprintf("127.%d.0.0/16", w.n) }

func (w network) addr(c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{127, w.n, c, d}) }

func (w network) controlPlane() netip.Addr { return w.addr(0, 1) }
func (w network) node() netip.Addr         { return w.addr(0, 2) }
func (w network) bodyRouter() netip.Addr   { return w.addr(0, 4) }

func (w network) gateway() netip.Addr { return w.addr(0, 3) }

// ports are what every sandbox listens on, apart from its first Gateway's and
// its Pods' ports.
func (w network) ports() []netip.AddrPort {
	return []netip.AddrPort{
		netip.AddrPortFrom(w.controlPlane(), 6443), netip.AddrPortFrom(w.node(), 10250),
		netip.AddrPortFrom(w.gateway(), 9901), netip.AddrPortFrom(w.gateway(), 9902),
		netip.AddrPortFrom(w.bodyRouter(), bodyRouterPort), netip.AddrPortFrom(w.bodyRouter(), bodyRouterHealthPort),
		netip.AddrPortFrom(w.bodyRouter(), bodyRouterMetricsPort), netip.AddrPortFrom(w.addr(1, 1), GatewayPort),
	}
}

// checkPorts names the first port that another program holds: one that listens
// on all of the machine's addresses holds ours, too.
func (w network) checkPorts() error {
	for _, p := range w.ports() {
		listener, err := net.Listen("tcp", p.String())
		if err != nil {
			return hint.Errorf(fmt.Sprintf("see who holds it: ss -ltnp 'sport = :%d'; end that program, or let it listen on one address only", p.Port()),
				"claim port %d for the sandbox: %w", p.Port(), err)
		}
		listener.Close()
	}
	return nil
}
