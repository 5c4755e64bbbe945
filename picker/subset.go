package picker

import (
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
)

// Subset is the gateway's hint: the endpoints among which to choose. The zero
// value restricts nothing.
type Subset struct {
	restricts bool
	addresses []netip.AddrPort // sorted
	hosts     []netip.Addr     // sorted: every port of theirs
}

// maxHint bounds the entries of a hint that are read, so that a hint costs no
// more than a large pool does. Entries beyond it are not eligible.
const maxHint = 4096

// SubsetOf reads a hint: a list of strings, or one string with commas. An entry
// is ip:port, [ip]:port for IPv6, or a bare IP for all its ports. A null or
// absent value restricts nothing; any other value restricts to the entries that
// can be read, which may be none.
func SubsetOf(hint *structpb.Value) Subset {
	var entries []string
	switch kind := hint.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return Subset{}
	case *structpb.Value_StringValue:
		entries = strings.SplitN(kind.StringValue, ",", maxHint+1)
	case *structpb.Value_ListValue:
		values := kind.ListValue.GetValues()
		for _, v := range values[:min(len(values), maxHint)] {
			entries = append(entries, v.GetStringValue())
		}
	}
	s := Subset{restricts: true}
	for _, entry := range entries[:min(len(entries), maxHint)] {
		if address, ok := parseEntry(strings.TrimSpace(entry)); ok {
			s.add(address)
		}
	}
	slices.SortFunc(s.addresses, netip.AddrPort.Compare)
	slices.SortFunc(s.hosts, netip.Addr.Compare)
	return s
}

func (s *Subset) add(address netip.AddrPort) {
	if address.Port() == 0 {
		s.hosts = append(s.hosts, address.Addr())
		return
	}
	s.addresses = append(s.addresses, address)
}

// parseEntry reads one entry; port 0 stands for every port.
func parseEntry(entry string) (netip.AddrPort, bool) {
	if address, err := netip.ParseAddrPort(entry); err == nil {
		return netip.AddrPortFrom(address.Addr().Unmap(), address.Port()), address.Port() != 0
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"))
	return netip.AddrPortFrom(ip.Unmap(), 0), err == nil
}

// Includes tells whether the hint leaves this address eligible. It does not
// allocate.
func (s Subset) Includes(address netip.AddrPort) bool { return !s.restricts || s.names(address) }

func (s Subset) names(address netip.AddrPort) bool {
	if _, found := slices.BinarySearchFunc(s.addresses, address, netip.AddrPort.Compare); found {
		return true
	}
	_, found := slices.BinarySearchFunc(s.hosts, address.Addr(), netip.Addr.Compare)
	return found
}
