package kube

import (
	"errors"
	"net"
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	case apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err), apierrors.IsServerTimeout(err), apierrors.IsTooManyRequests(err):
		return hint.Wrap(err, "the API server is in trouble, and nothing is wrong with the command: try again; kubectl get --raw '/readyz?verbose' shows why")
	case apierrors.IsForbidden(err):
		return hint.Wrap(err, "ask for a role that allows it, and check with: kubectl auth can-i --list")
	}
	return err
}

// NotInstalled says whether err is of a kind that the API server does not have,
// and not of an object: then the answer has no details of an object, but what an
// unknown path is answered with.
func NotInstalled(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && slices.ContainsFunc(details.Causes, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeUnexpectedServerResponse
	})
}
