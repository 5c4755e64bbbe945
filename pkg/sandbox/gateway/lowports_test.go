package gateway

import (
	"net/netip"
	"testing"
)

func TestWhoseChildrenMayBindAnyPort(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		user   int
		status string
		want   bool
	}{
		{"root's, when root may", 0, "", true},
		{"another user's with the ambient capability", 1000, "CapEff:\t0000000000000400\nCapAmb:\t0000000000000400\n", true},
		{"not with one of the program's own", 1000, "CapEff:\t0000000000000400\nCapAmb:\t0000000000000000\n", false},
		{"not with another ambient capability", 1000, "CapAmb:\t0000000000000800\n", false},
		{"not on a kernel that knows of none", 1000, "CapEff:\t0000000000000400\n", false},
	} {
		if got := inherited(row.user, row.status); got != row.want {
			t.Errorf("%s: got %t", row.rule, got)
		}
	}
}

func TestTheFirstPortIsAPort(t *testing.T) {
	t.Parallel()
	first, err := firstPort(netip.MustParseAddr("127.9.0.3"))
	if err != nil || first < 0 || first > 65535 {
		t.Errorf("got %d, %v", first, err)
	}
}
