package podrunner

import (
	"fmt"
	"net/netip"
	"sync"
)

// addresses hands out Pod addresses 127.N.2.1 to 127.N.254.254. It goes on
// after the last one given, so that a deleted Pod's address is not another's at once.
type addresses struct {
	n     byte
	mu    sync.Mutex
	next  int
	taken map[netip.Addr]bool
}

const (
	firstPodNet  = 2
	hostsPerNet  = 254
	podAddresses = (254 - firstPodNet + 1) * hostsPerNet
)

func newAddresses(n byte) *addresses {
	return &addresses{n: n, taken: map[netip.Addr]bool{}}
}

func (a *addresses) allocate() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range podAddresses {
		i := a.next
		a.next = (a.next + 1) % podAddresses
		addr := netip.AddrFrom4([4]byte{127, a.n, byte(firstPodNet + i/hostsPerNet), byte(1 + i%hostsPerNet)})
		if !a.taken[addr] {
			a.taken[addr] = true
			return addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("allocate a Pod address: all %d of 127.%d.0.0/16 are taken", podAddresses, a.n)
}

func (a *addresses) release(addr netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.taken, addr)
}
