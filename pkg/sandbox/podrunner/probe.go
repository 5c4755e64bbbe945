package podrunner

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// eager is the interval between probes until the first success.
const eager = 200 * time.Millisecond

// probe is a probe ready to be run.
type probe struct {
	check                  func(context.Context) error // nil: passes always
	timeout, period, delay time.Duration
	failures, success      int32 // thresholds
}

// passes runs the probe once, within its timeout.
func (p *probe) passes(ctx context.Context) bool {
	if p.check == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return p.check(ctx) == nil
}

// readinessProbe is the container's against ip. Without one it dials the first
// containerPort; without that it has nothing to check.
func readinessProbe(c corev1.Container, ip string, client *http.Client) probe {
	declared := c.ReadinessProbe
	if declared == nil {
		declared = &corev1.Probe{}
		if len(c.Ports) > 0 && c.Ports[0].Protocol != corev1.ProtocolUDP {
			declared.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt32(c.Ports[0].ContainerPort)}
		}
	}
	return newProbe(declared, c, ip, client)
}

// optionalProbe is nil for what is not declared, and for exec, which is ignored.
func optionalProbe(declared *corev1.Probe, c corev1.Container, ip string, client *http.Client) *probe {
	if declared == nil || declared.Exec != nil {
		return nil
	}
	p := newProbe(declared, c, ip, client)
	return &p
}

func newProbe(declared *corev1.Probe, c corev1.Container, ip string, client *http.Client) probe {
	seconds := func(n, otherwise int32) time.Duration {
		return time.Duration(orDefault(n, otherwise)) * time.Second
	}
	p := probe{
		timeout:  seconds(declared.TimeoutSeconds, 1),
		period:   seconds(declared.PeriodSeconds, 10),
		delay:    seconds(declared.InitialDelaySeconds, 0),
		failures: orDefault(declared.FailureThreshold, 3),
		success:  orDefault(declared.SuccessThreshold, 1),
	}
	switch {
	case declared.HTTPGet != nil:
		p.check = httpCheck(c, declared.HTTPGet, ip, client)
	case declared.TCPSocket != nil:
		p.check = tcpCheck(address(c, declared.TCPSocket.Host, ip, declared.TCPSocket.Port))
	case declared.GRPC != nil:
		p.check = grpcCheck(address(c, "", ip, intstr.FromInt32(declared.GRPC.Port)), declared.GRPC.Service)
	}
	return p
}

func orDefault(n, otherwise int32) int32 {
	if n > 0 {
		return n
	}
	return otherwise
}

// address resolves a numbered or named port of the container.
func address(c corev1.Container, host, ip string, port intstr.IntOrString) string {
	if host == "" {
		host = ip
	}
	number := port.IntValue()
	for _, p := range c.Ports {
		if port.Type == intstr.String && p.Name == port.StrVal {
			number = int(p.ContainerPort)
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(number))
}

func httpCheck(c corev1.Container, get *corev1.HTTPGetAction, ip string, client *http.Client) func(context.Context) error {
	scheme := "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	url := scheme + "://" + address(c, get.Host, ip, get.Port) + get.Path
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		for _, h := range get.HTTPHeaders {
			request.Header.Set(h.Name, h.Value)
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode < 200 || response.StatusCode >= 400 {
			return fmt.Errorf("get %s: status %d", url, response.StatusCode)
		}
		return nil
	}
}

func tcpCheck(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

func grpcCheck(addr string, service *string) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer connection.Close()
		request := &healthpb.HealthCheckRequest{}
		if service != nil {
			request.Service = *service
		}
		answer, err := healthpb.NewHealthClient(connection).Check(ctx, request)
		if err != nil {
			return err
		}
		if answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			return fmt.Errorf("check %s: %s", addr, answer.GetStatus())
		}
		return nil
	}
}

// probeClient is for probes and fault injection: a connection per request, any
// certificate (as the kubelet), no redirects to elsewhere.
func probeClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// readiness turns probe results into ready or not, by the probe's thresholds.
type readiness struct {
	successThreshold, failureThreshold int32
	run                                int32 // results in a row that speak against ready's value
	ready                              bool
}

// observe takes one result and reports whether ready changed.
func (r *readiness) observe(ok bool) bool {
	if ok == r.ready {
		r.run = 0
		return false
	}
	r.run++
	threshold := r.successThreshold
	if r.ready {
		threshold = r.failureThreshold
	}
	if r.run < threshold {
		return false
	}
	r.ready, r.run = ok, 0
	return true
}
