package kube

import (
	"errors"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Explain adds the next thing to type to an error of the cluster that carries
// no hint yet: it cannot be reached, does not know us, or forbids.
func Explain(err error) error {
	if err == nil || hint.Of(err) != "" {
		return err
	}
	var dial *net.OpError
	var dns *net.DNSError
	var call *url.Error
	switch {
	case errors.As(err, &dial), errors.As(err, &dns):
		return hint.Wrap(err, "kubectl cluster-info; or, to rehearse on this machine: kubectl infer sandbox up --detach")
	case errors.As(err, &call) && call.Timeout():
		return hint.Wrap(err, "kubectl cluster-info; or give it longer with --request-timeout")
	case apierrors.IsUnauthorized(err):
		return hint.Wrap(err, "the cluster does not accept these credentials: kubectl auth whoami")
	case apierrors.IsForbidden(err):
		return hint.Wrap(err, "ask for a role that allows it, and check with: kubectl auth can-i --list")
	}
	return err
}
