package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Where Linux says what an unprivileged process may bind, and what this one may.
const (
	unprivilegedStart = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
	ownStatus         = "/proc/self/status"
)

// firstPort is the lowest port that an Envoy started by us may bind at address.
func firstPort(address netip.Addr) (int32, error) {
	listener, err := net.Listen("tcp", netip.AddrPortFrom(address, 1).String())
	if err == nil {
		listener.Close()
	}
	if !errors.Is(err, unix.EACCES) {
		status, err := os.ReadFile(ownStatus)
		if err != nil {
			return 0, err
		}
		if inherited(os.Geteuid(), string(status)) {
			return 1, nil
		}
	}
	text, err := os.ReadFile(unprivilegedStart)
	if err != nil {
		return 0, err
	}
	first, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", unprivilegedStart, err)
	}
	return int32(first), nil
}

// inherited reports whether a child has the capability to bind any port that we
// have: root's children do, others' only if it is ambient.
func inherited(user int, status string) bool {
	if user == 0 {
		return true
	}
	ambient := regexp.MustCompile(`(?m)^CapAmb:\s*([0-9a-f]+)$`).FindStringSubmatch(status)
	if ambient == nil {
		return false
	}
	set, err := strconv.ParseUint(ambient[1], 16, 64)
	return err == nil && set&(1<<unix.CAP_NET_BIND_SERVICE) != 0
}
