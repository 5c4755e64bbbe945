package evidence

import (
	"context"
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// pods are an arm's as last listed.
type pods struct {
	servers, pickers []corev1.Pod
	restarts         map[string]restarts // by pod UID, pods that are gone included
}

type restarts struct{ base, now int }

// list refreshes the pods. When the cluster cannot be asked, what was last
// listed is kept.
func (p *pods) list(ctx context.Context, c *kube.Clients, pool Pool) error {
	servers, err := list(ctx, c, pool.Namespace, pool.Servers)
	if err != nil {
		return err
	}
	pickers, err := list(ctx, c, pool.Namespace, pool.Pickers)
	if err != nil {
		return err
	}
	first := p.restarts == nil
	if first {
		p.restarts = map[string]restarts{}
	}
	p.servers, p.pickers = servers, pickers
	for i := range servers {
		uid, n := string(servers[i].UID), restartCount(&servers[i])
		log := p.restarts[uid]
		if first {
			log.base = n
		}
		log.now = n
		p.restarts[uid] = log
	}
	return nil
}

func list(ctx context.Context, c *kube.Clients, namespace string, selector labels.Selector) ([]corev1.Pod, error) {
	if selector == nil {
		return nil, nil
	}
	found, err := c.Core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("list pods %s in namespace %s: %w", selector, namespace, err)
	}
	return found.Items, nil
}

func (p *pods) ready() int {
	n := 0
	for i := range p.servers {
		if ready(&p.servers[i]) {
			n++
		}
	}
	return n
}

func (p *pods) restarted() int {
	n := 0
	for _, log := range p.restarts {
		n += log.now - log.base
	}
	return n
}

// endpoint is where one page is: a port of a pod, or an address.
type endpoint struct {
	pod  *corev1.Pod
	port int32
	url  string
}

// id changes when what is behind an endpoint does.
func (e endpoint) id() string {
	if e.pod == nil {
		return e.url
	}
	return string(e.pod.UID) + ":" + strconv.Itoa(int(e.port))
}

func (e endpoint) address() string {
	return net.JoinHostPort(e.pod.Status.PodIP, strconv.Itoa(int(e.port)))
}

func (e endpoint) String() string {
	if e.pod == nil {
		return e.url
	}
	return "pod " + e.pod.Name
}

func ids(endpoints []endpoint) []string {
	list := make([]string, len(endpoints))
	for i, e := range endpoints {
		list[i] = e.id()
	}
	return list
}

// endpoints are where an arm's pages are: every ready picker, every model
// server that has an address, ready or not (what it answered counts), or the
// gateway's own pages.
func (a *Arms) endpoints(side *arm) []endpoint {
	var all []endpoint
	switch a.preset.at {
	case atGateway:
		for _, url := range a.options.Pages {
			all = append(all, endpoint{url: url})
		}
	case atServers:
		all = serverEndpoints(side)
	default:
		for i := range side.pods.pickers {
			if pod := &side.pods.pickers[i]; ready(pod) {
				all = append(all, endpoint{pod: pod, port: metricsPort(pod, defaultMetricsPort)})
			}
		}
	}
	return all
}

// serverEndpoints are an arm's model servers.
func serverEndpoints(side *arm) []endpoint {
	var all []endpoint
	for i := range side.pods.servers {
		pod := &side.pods.servers[i]
		if pod.Status.PodIP == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, port := range serverPorts(pod, side.pool.Ports) {
			all = append(all, endpoint{pod: pod, port: port})
		}
	}
	return all
}

// serverPorts are the ports a model server exports its metrics on: the one
// called metrics, or those it serves on, one for each engine.
func serverPorts(pod *corev1.Pod, serving []int32) []int32 {
	if named := metricsPort(pod, 0); named != 0 {
		return []int32{named}
	}
	return serving
}

// ready says whether a pod is ready and stays.
func ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Status.PodIP == "" {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func restartCount(pod *corev1.Pod) int {
	n := 0
	for _, c := range pod.Status.ContainerStatuses {
		n += int(c.RestartCount)
	}
	return n
}

func metricsPort(pod *corev1.Pod, otherwise int32) int32 {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == "metrics" {
				return port.ContainerPort
			}
		}
	}
	return otherwise
}
