package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func named(name, class, address string) *gwv1.Gateway {
	gw := &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	gw.Spec.GatewayClassName = gwv1.ObjectName(class)
	if address != "" {
		gw.Status.Addresses = []gwv1.GatewayStatusAddress{{Value: address}}
	}
	return gw
}

func key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: name}
}

func TestAddressesOfGateways(t *testing.T) {
	t.Parallel()
	network := netip.MustParsePrefix("127.9.1.0/24")
	held := map[types.NamespacedName]netip.Addr{key("b"): netip.MustParseAddr("127.9.1.1")}
	for _, row := range []struct {
		rule     string
		held     map[types.NamespacedName]netip.Addr
		gateways []*gwv1.Gateway
		want     string
	}{
		{"the first free ones", nil, []*gwv1.Gateway{named("b", "mine", ""), named("a", "mine", "")}, "a=127.9.1.1 b=127.9.1.2"},
		{"one that is held is kept", held, []*gwv1.Gateway{named("a", "mine", ""), named("b", "mine", "")}, "a=127.9.1.2 b=127.9.1.1"},
		{"one that is gone is free again", held, []*gwv1.Gateway{named("a", "mine", "")}, "a=127.9.1.1 b=none"},
		{"a status is remembered", nil, []*gwv1.Gateway{named("a", "mine", ""), named("b", "mine", "127.9.1.7")}, "a=127.9.1.1 b=127.9.1.7"},
		{"a status of another network is not", nil, []*gwv1.Gateway{named("a", "mine", "127.8.1.7")}, "a=127.9.1.1 b=none"},
		{"two statuses with one address", nil, []*gwv1.Gateway{named("a", "mine", "127.9.1.7"), named("b", "mine", "127.9.1.7")}, "a=127.9.1.7 b=127.9.1.1"},
		{"others' Gateways get none", nil, []*gwv1.Gateway{named("a", "other", ""), named("b", "mine", "")}, "a=none b=127.9.1.1"},
	} {
		classes := []*gwv1.GatewayClass{{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, {ObjectMeta: metav1.ObjectMeta{Name: "other"}}}
		classes[0].Spec.ControllerName = translate.ControllerName
		classes[1].Spec.ControllerName = "example.com/other"
		got := assignAddresses(row.held, translate.Objects{Classes: classes, Gateways: row.gateways}, network)
		show := func(name string) string {
			if a, ok := got[key(name)]; ok {
				return a.String()
			}
			return "none"
		}
		if words := fmt.Sprintf("a=%s b=%s", show("a"), show("b")); words != row.want {
			t.Errorf("%s: got %s, want %s", row.rule, words, row.want)
		}
	}
}

func TestTransitionTimeMovesWithTheStatusOnly(t *testing.T) {
	t.Parallel()
	old, now := metav1.Unix(100, 0), time.Unix(200, 0)
	before := []metav1.Condition{{Type: "Accepted", Status: "True", LastTransitionTime: old}, {Type: "Programmed", Status: "False", LastTransitionTime: old}}
	after := since(before, []metav1.Condition{
		{Type: "Accepted", Status: "True", ObservedGeneration: 2}, {Type: "Programmed", Status: "True"}, {Type: "New", Status: "True"},
	}, now)
	for i, want := range []int64{100, 200, 200} {
		if got := after[i].LastTransitionTime.Unix(); got != want {
			t.Errorf("%s: got %d, want %d", after[i].Type, got, want)
		}
	}
}

func TestOnlyOurStatusEntriesAreReplaced(t *testing.T) {
	t.Parallel()
	entry := func(gateway string, controller gwv1.GatewayController) gwv1.RouteParentStatus {
		return gwv1.RouteParentStatus{ParentRef: gwv1.ParentReference{Name: gwv1.ObjectName(gateway)}, ControllerName: controller}
	}
	current := []gwv1.RouteParentStatus{entry("x", "example.com/other"), entry("gone", translate.ControllerName), entry("gone", translate.ControllerNameACK)}
	got := routeParents(current, []gwv1.RouteParentStatus{entry("gw", translate.ControllerName)}, time.Unix(1, 0))
	if len(got) != 2 || got[0].ControllerName != "example.com/other" || got[1].ParentRef.Name != "gw" {
		t.Errorf("got %+v", got)
	}
}

func TestARefusalIsShownWithEnvoysWords(t *testing.T) {
	t.Parallel()
	programmed := []metav1.Condition{{Type: "Accepted", Status: "True"}, {Type: "Programmed", Status: "True", Reason: "Programmed"}}
	s := refusedStatuses(translate.Statuses{Gateways: map[types.NamespacedName]gwv1.GatewayStatus{
		key("gw"): {Conditions: programmed, Listeners: []gwv1.ListenerStatus{{Conditions: append([]metav1.Condition(nil), programmed...)}}},
	}}, &xds.RefusedError{Message: "no such thing"})
	gw := s.Gateways[key("gw")]
	for _, conditions := range [][]metav1.Condition{gw.Conditions, gw.Listeners[0].Conditions} {
		if c := conditions[1]; c.Status != "False" || c.Reason != "Invalid" || c.Message != "Envoy refused the configuration, the one before keeps serving: no such thing" {
			t.Errorf("got %+v", c)
		}
		if conditions[0].Status != "True" {
			t.Error("Accepted changed")
		}
	}
}

func TestWhyRunEnds(t *testing.T) {
	t.Parallel()
	other, died := errors.New("other"), errors.New("envoy ended")
	running, envoyEnded := context.WithCancelCause(context.Background())
	defer envoyEnded(nil)
	if got := endOf(running, other); got != other {
		t.Errorf("while it runs: got %v", got)
	}
	envoyEnded(&endedError{died})
	if got := endOf(running, other); got != died {
		t.Errorf("Envoy ended: got %v", got)
	}
	stopped, stop := context.WithCancelCause(context.Background())
	stop(errors.New("the caller's own cause"))
	if got := endOf(stopped, other); got != nil {
		t.Errorf("the caller stopped it: got %v", got)
	}
}
