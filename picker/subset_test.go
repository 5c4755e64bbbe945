package picker

import (
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"
)

func list(entries ...any) *structpb.Value {
	l, err := structpb.NewList(entries)
	if err != nil {
		panic(err)
	}
	return structpb.NewListValue(l)
}

func TestSubset(t *testing.T) {
	t.Parallel()
	text := structpb.NewStringValue
	for rule, tc := range map[string]struct {
		hint    *structpb.Value
		address string
		want    bool
	}{
		"no hint: every endpoint":                   {nil, "10.0.0.1:8000", true},
		"a null hint is no hint":                    {structpb.NewNullValue(), "10.0.0.1:8000", true},
		"an empty list leaves nobody":               {list(), "10.0.0.1:8000", false},
		"an empty string leaves nobody":             {text(""), "10.0.0.1:8000", false},
		"a list of one":                             {list("10.0.0.1:8000"), "10.0.0.1:8000", true},
		"a list of several":                         {list("10.0.0.9:8000", "10.0.0.1:8000", "10.0.0.5:8000"), "10.0.0.5:8000", true},
		"a string with commas and blanks":           {text("10.0.0.9:8000, 10.0.0.1:8000"), "10.0.0.1:8000", true},
		"an address that is not listed":             {list("10.0.0.9:8000"), "10.0.0.1:8000", false},
		"the port counts":                           {list("10.0.0.1:8001"), "10.0.0.1:8000", false},
		"an entry without port means all its ports": {list("10.0.0.1"), "10.0.0.1:8000", true},
		"IPv6 is written in brackets":               {list("[2001:db8::1]:8000"), "[2001:db8::1]:8000", true},
		"IPv6 without port":                         {text("[2001:db8::1]"), "[2001:db8::1]:8000", true},
		"IPv6 without brackets has no port":         {text("2001:db8::1"), "[2001:db8::1]:8000", true},
		"an IPv4 address in IPv6 form is itself":    {list("[::ffff:10.0.0.1]:8000"), "10.0.0.1:8000", true},
		"a name is not an address":                  {list("localhost:8000"), "127.0.0.1:8000", false},
		"port zero is no port":                      {list("10.0.0.1:0"), "10.0.0.1:8000", false},
		"what cannot be read does not open the way": {list(7.0, true, nil, "10.0.0.1:99999"), "10.0.0.1:8000", false},
		"nor hides what can be read":                {list(7.0, "10.0.0.1:8000"), "10.0.0.1:8000", true},
		"a hint of another kind leaves nobody":      {structpb.NewNumberValue(1), "10.0.0.1:8000", false},
		"entries beyond the bound are not eligible": {text(strings.Repeat("10.0.0.9:1,", maxHint) + "10.0.0.1:8000"), "10.0.0.1:8000", false},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			if got := SubsetOf(tc.hint).Includes(netip.MustParseAddrPort(tc.address)); got != tc.want {
				t.Errorf("includes %s: %v", tc.address, got)
			}
		})
	}
}

func FuzzSubset(f *testing.F) {
	for _, s := range []string{"", ",", "10.0.0.1:8000", "[::1]:80,1.2.3.4", "[", "[]:1", "::1%eth0", "1.2.3.4:-1"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		never := netip.MustParseAddrPort("192.0.2.77:4711")
		for _, s := range []Subset{SubsetOf(structpb.NewStringValue(a)), SubsetOf(&structpb.Value{Kind: &structpb.Value_ListValue{
			ListValue: &structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue(a), structpb.NewStringValue(b), nil}},
		}})} {
			if !strings.Contains(a+b, "192.0.2.77") && !strings.Contains(a+b, "c000:24d") && !strings.Contains(a+b, "C000:24") && s.Includes(never) {
				t.Fatalf("%q, %q let an address in that they do not name", a, b)
			}
		}
	})
}
