package mirror

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	engine "github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// shadow is what gets the copies: its pods, and the Service before them.
type shadow struct {
	name    string // as the plan has it: KIND/NAME
	pods    evidence.Pool
	backend engine.Backend
	service *corev1.Service // to be made; nil where there is one
}

// parseTo reads --to: service/NAME[:PORT], inferencepool/NAME, or a bare NAME.
func parseTo(to string) (typed, name string, port int32, err error) {
	typed, name, qualified := strings.Cut(to, "/")
	if !qualified {
		typed, name = "", to
	}
	typed = strings.ToLower(typed)
	if before, after, ok := strings.Cut(name, ":"); ok {
		n, convErr := strconv.ParseUint(after, 10, 16)
		if convErr != nil || n == 0 || typed == "inferencepool" {
			return "", "", 0, exit.With(exit.Usage, hint.Errorf("--to service/NAME:PORT, or --to inferencepool/NAME", "--to %q has no port number after its name", to))
		}
		typed, name, port = "service", before, int32(n)
	}
	if name == "" || qualified && typed != "service" && typed != "inferencepool" {
		return "", "", 0, exit.With(exit.Usage, hint.Errorf("--to service/NAME, or --to inferencepool/NAME", "--to %q is neither a Service nor an InferencePool", to))
	}
	return typed, name, port, nil
}

// findShadow resolves --to. A bare name is the pool's or the Service's,
// whichever is there.
func findShadow(ctx context.Context, clients *kube.Clients, to, route string) (shadow, error) {
	typed, name, port, err := parseTo(to)
	if err != nil {
		return shadow{}, err
	}
	var pool evidence.Pool
	if typed != "service" {
		for _, group := range []string{kube.InferencePools().Group, kube.AlphaInferencePools().Group} {
			if pool, err = evidence.ResolvePool(ctx, clients, clients.Namespace, evidence.PoolRef{Group: group, Name: name}); !apierrors.IsNotFound(err) {
				break
			}
		}
		if err == nil {
			return poolShadow(clients, pool, route)
		}
		if typed != "" || !apierrors.IsNotFound(err) {
			return shadow{}, err
		}
	}
	pool, port, err = evidence.ResolveService(ctx, clients, clients.Namespace, name, port)
	if err != nil {
		return shadow{}, err
	}
	return shadow{name: "service/" + name, pods: pool, backend: engine.Backend{Kind: "Service", Name: name, Port: int64(port)}}, nil
}

// poolShadow puts a plain Service of ours before the pool's pods.
func poolShadow(clients *kube.Clients, pool evidence.Pool, route string) (shadow, error) {
	selector, err := labels.ConvertSelectorToLabelsMap(pool.Servers.String())
	if err != nil || len(selector) == 0 || len(pool.Ports) == 0 {
		return shadow{}, hint.Errorf("--to a Service that selects the pool's pods", "%s has no selector and port to make a Service of", pool)
	}
	service := scaffold.Shadow(route, clients.Namespace, selector, pool.Ports[0])
	pool.Pickers = nil // no picker is asked for copies
	return shadow{
		name: "inferencepool/" + pool.Name, pods: pool, service: service,
		backend: engine.Backend{Kind: "Service", Name: service.Name, Port: int64(pool.Ports[0])},
	}, nil
}

// services makes and deletes the Service of a shadow that has none.
type services struct {
	clients   *kube.Clients
	namespace string
	service   *corev1.Service // to be made
	name      string          // to be deleted; "" for none
}

// Make implements engine.Shadow. A Service that an earlier mirror of the route
// left is taken over.
func (s services) Make(ctx context.Context) error { return s.make(ctx, nil) }

func (s services) make(ctx context.Context, dryRun []string) error {
	client := s.clients.Core.CoreV1().Services(s.namespace)
	where := fmt.Sprintf("service %s/%s", s.namespace, s.service.Name)
	_, err := client.Create(ctx, s.service, metav1.CreateOptions{FieldManager: journal.Manager, DryRun: dryRun})
	if !apierrors.IsAlreadyExists(err) {
		return wrap(err, "create "+where)
	}
	found, err := client.Get(ctx, s.service.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return wrap(err, "get "+where)
	case !ours(found):
		return hint.Errorf("rename it, or mirror to it: --to service/"+found.Name, "%s is there and not ours", where)
	case maps.Equal(found.Spec.Selector, s.service.Spec.Selector) && len(found.Spec.Ports) == 1 && found.Spec.Ports[0].Port == s.service.Spec.Ports[0].Port || len(dryRun) > 0:
		return nil
	}
	if err := s.delete(ctx, found); err != nil {
		return err
	}
	_, err = client.Create(ctx, s.service, metav1.CreateOptions{FieldManager: journal.Manager})
	return wrap(err, "create "+where)
}

// Remove implements engine.Shadow. What is not ours, or not there, is left.
func (s services) Remove(ctx context.Context) error {
	found, err := s.clients.Core.CoreV1().Services(s.namespace).Get(ctx, s.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return wrap(err, fmt.Sprintf("get service %s/%s", s.namespace, s.name))
	case !ours(found):
		return nil
	}
	return s.delete(ctx, found)
}

func (s services) delete(ctx context.Context, found *corev1.Service) error {
	err := s.clients.Core.CoreV1().Services(s.namespace).Delete(ctx, found.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &found.UID}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return wrap(err, fmt.Sprintf("delete service %s/%s", s.namespace, found.Name))
}

func ours(s *corev1.Service) bool {
	return s.Labels[scaffold.ManagedBy] == scaffold.Manager && s.Labels[scaffold.CreatedBy] == scaffold.ByMirror
}

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
