package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// Names of contenders, as the tables have them.
const (
	theFloor = "floor"
	ours     = "ours"
	thePeer  = "reference v1.5.0"
)

// suite is a set of contests between the same servers. The first contender is
// the floor, the second ours.
type suite struct {
	name       string
	title      string // of its table; "" for none
	pods       int    // to pick from; 0 for body routers
	contenders []contender
	contests   []contest
}

// places are where programs and files are found.
type places struct {
	self       string // this program: it serves the floor
	bin        string // our programs, and those of e2e/peers in bin/peers
	kubeconfig string // for body routers of peers, which want one and do not use it
}

func floorContender(p places) contender {
	return contender{name: theFloor, argv: func(grpc, _, _ string) []string {
		return []string{p.self, "--serve-floor", "127.0.0.1:" + grpc}
	}}
}

// bodyRouter compares body routers: both modes, four sizes, two shapes. The
// reference has one mode per process, and reads the model name only: with its
// default plugins it would also need an API server.
func bodyRouter(p places) (suite, error) {
	s := suite{name: "body-router", contenders: []contender{
		floorContender(p),
		{name: ours, sets: header.ModelName, argv: func(grpc, health, metrics string) []string {
			return []string{
				filepath.Join(p.bin, "body-router"), "--bind-address", "127.0.0.1", "--secure-serving=false",
				"--grpc-port", grpc, "--grpc-health-port", health, "--metrics-port", metrics,
			}
		}},
		referenceRouter(p, fullDuplex, "--streaming=true"),
		referenceRouter(p, buffered, "--streaming=false"),
	}}
	for _, m := range []mode{fullDuplex, buffered} {
		for _, b := range []shape{longString, escapes} {
			for _, size := range []int{1 << 10, 16 << 10, 128 << 10, 1 << 20} {
				if err := s.add(fmt.Sprintf("%s, %s, %s", m, b, sizeName(size)), m, body(b, size), nil); err != nil {
					return suite{}, err
				}
			}
		}
	}
	return s, nil
}

func referenceRouter(p places, m mode, streaming string) contender {
	return contender{
		name: thePeer, mode: m, sets: header.ModelName, env: []string{"KUBECONFIG=" + p.kubeconfig},
		argv: func(grpc, health, metrics string) []string {
			return []string{
				filepath.Join(p.bin, "peers", "refbbr"), streaming,
				"--secure-serving=false", "--metrics-endpoint-auth=false", "--tracing=false",
				"--plugin", `body-field-to-header:model:{"fieldName":"model","headerName":"` + header.ModelName + `"}`,
				"--grpc-port", grpc, "--grpc-health-port", health, "--metrics-port", metrics,
			}
		},
	}
}

// endpointPickers makes a pool of each size, and a suite for it.
func endpointPickers(ctx context.Context, p places, c *cluster, sizes []int) ([]suite, error) {
	var suites []suite
	for _, pods := range sizes {
		pool := fmt.Sprintf("pods-%d", pods)
		if err := c.addPool(ctx, pool, pods); err != nil {
			return nil, err
		}
		s, err := endpointPicker(p, c, pool, pods)
		if err != nil {
			return nil, err
		}
		suites = append(suites, s)
	}
	return suites, nil
}

// endpointPicker compares pickers of the pool, which has so many Pods: request
// bodies of three sizes with a short answer, and one with a long answer. The
// reference serves full duplex only.
func endpointPicker(p places, c *cluster, pool string, pods int) (suite, error) {
	env := []string{"KUBECONFIG=" + c.kubeconfig}
	s := suite{name: "endpoint-picker", title: fmt.Sprintf("%d Pods", pods), pods: pods, contenders: []contender{
		floorContender(p),
		{
			name: ours, sets: header.DestinationEndpoint, env: env, endpoints: "infer_picker_ready_endpoints",
			argv: func(grpc, health, metrics string) []string {
				return []string{
					filepath.Join(p.bin, "endpoint-picker"), "--bind-address", "127.0.0.1", "--secure-serving=false",
					"--pool-name", pool, "--pool-namespace", "default",
					"--grpc-port", grpc, "--grpc-health-port", health, "--metrics-port", metrics,
				}
			},
		},
		{
			name: thePeer, mode: fullDuplex, sets: header.DestinationEndpoint, env: env, endpoints: "inference_pool_ready_pods",
			argv: func(grpc, health, metrics string) []string {
				return []string{
					filepath.Join(p.bin, "peers", "refepp"),
					"--secure-serving=false", "--metrics-endpoint-auth=false", "--tracing=false",
					"--pool-name", pool, "--pool-namespace", "default",
					"--grpc-port", grpc, "--grpc-health-port", health, "--metrics-port", metrics,
				}
			},
		},
	}}
	return s, s.addPicks()
}

// addPicks adds what a picker is asked.
func (s *suite) addPicks() error {
	for _, m := range []mode{fullDuplex, buffered} {
		for _, c := range []struct{ size, chunks int }{{1 << 10, 1}, {16 << 10, 1}, {128 << 10, 1}, {1 << 10, 200}} {
			answer, err := response(c.chunks)
			if err != nil {
				return err
			}
			label := fmt.Sprintf("%s, %s, answer of %d", m, sizeName(c.size), c.chunks)
			if err := s.add(label, m, body(oneMessage, c.size), answer); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds a contest: one request and the answer to it.
func (s *suite) add(label string, m mode, body []byte, answer script) error {
	script, err := request(m, body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", label, err)
	}
	s.contests = append(s.contests, contest{label: label, mode: m, script: append(script, answer...), bytes: len(body)})
	return nil
}

func sizeName(bytes int) string {
	if bytes >= 1<<20 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}
