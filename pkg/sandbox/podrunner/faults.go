package podrunner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// FaultsAnnotation holds modelsim.Faults as JSON, on a Deployment for all its
// Pods or on a Pod, whose own wins. Absent means healthy.
const FaultsAnnotation = "kubectl-infer.github.io/faults"

const faultsTimeout = 2 * time.Second

// wantedFaults reads the annotation that holds for a Pod; owner may be nil.
func wantedFaults(pod *corev1.Pod, owner *appsv1.Deployment) (modelsim.Faults, error) {
	text, ok := pod.Annotations[FaultsAnnotation]
	if !ok && owner != nil {
		text = owner.Annotations[FaultsAnnotation]
	}
	var faults modelsim.Faults
	if text == "" {
		return faults, nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&faults); err != nil {
		return modelsim.Faults{}, fmt.Errorf("read annotation %s: %w", FaultsAnnotation, err)
	}
	if err := faults.Validate(); err != nil {
		return modelsim.Faults{}, fmt.Errorf("read annotation %s: %w", FaultsAnnotation, err)
	}
	return faults, nil
}

// FaultsURL is where the Pod's simulated model server takes and shows its
// faults, or "" when the Pod has no such container or no address yet.
func FaultsURL(pod *corev1.Pod) string {
	images := Images{} // the sandbox's own rows are in what it says of the containers
	for _, s := range pod.Status.ContainerStatuses {
		if s.ImageID == imageID(ModelServer) {
			images[s.Image] = ModelServer
		}
	}
	for _, c := range pod.Spec.Containers {
		program, _, err := Resolve(c, nil)
		if err != nil {
			program, _, err = Resolve(c, images)
		}
		if err == nil && program.Name == ModelServer && pod.Status.PodIP != "" {
			return faultsURL(pod.Status.PodIP, c, program.Args)
		}
	}
	return ""
}

// faultsURL finds the port in --port, else in the first containerPort, else
// vLLM's 8000.
func faultsURL(ip string, c corev1.Container, args []string) string {
	port := 8000
	if len(c.Ports) > 0 {
		port = int(c.Ports[0].ContainerPort)
	}
	for i, arg := range args {
		value, ok := strings.CutPrefix(arg, "--port=")
		if arg == "--port" && i+1 < len(args) {
			value, ok = args[i+1], true
		}
		if n, err := strconv.Atoi(value); ok && err == nil {
			port = n
		}
	}
	return "http://" + net.JoinHostPort(ip, strconv.Itoa(port)) + "/sandbox/faults"
}

// putFaults tells a simulator its faults.
func putFaults(ctx context.Context, client *http.Client, url string, faults modelsim.Faults) error {
	body, err := json.Marshal(faults)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, faultsTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("put %s: status %d", url, response.StatusCode)
	}
	return nil
}

// GetFaults asks a simulator which faults are in effect.
func GetFaults(ctx context.Context, url string) (modelsim.Faults, error) {
	ctx, cancel := context.WithTimeout(ctx, faultsTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return modelsim.Faults{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return modelsim.Faults{}, err
	}
	defer response.Body.Close()
	var faults modelsim.Faults
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&faults); err != nil {
		return modelsim.Faults{}, fmt.Errorf("read faults from %s: %w", url, err)
	}
	return faults, nil
}
