package kube_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	routes := schema.GroupResource{Resource: "httproutes"}
	refused := &url.Error{Op: "Get", URL: "http://localhost", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
	tests := map[string]struct {
		err  error
		want string
	}{
		"a cluster that cannot be reached": {fmt.Errorf("get: %w", refused), "sandbox up"},
		"a call that takes too long":       {&url.Error{Op: "Get", URL: "x", Err: os.ErrDeadlineExceeded}, "--request-timeout"},
		"credentials that are not known":   {apierrors.NewUnauthorized("no"), "whoami"},
		"a verb that is not allowed":       {apierrors.NewForbidden(routes, "chat", errors.New("no")), "can-i"},
		"a hint that is there stays":       {hint.Wrap(refused, "mine"), "mine"},
		"anything else has no hint":        {errors.New("x"), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := kube.Explain(tt.err)
			if h := hint.Of(got); !strings.Contains(h, tt.want) || (tt.want == "") != (h == "") {
				t.Errorf("hint %q, want %q", h, tt.want)
			}
			if !errors.Is(got, tt.err) {
				t.Error("the error was lost")
			}
		})
	}
	if kube.Explain(nil) != nil {
		t.Error("an error was made of nothing")
	}
}
