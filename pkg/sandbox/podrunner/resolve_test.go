package podrunner

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	model := func(args ...string) Program { return Program{Name: ModelServer, Args: args} }
	tests := []struct {
		rule      string
		container corev1.Container
		want      Program
	}{
		{"our model server image keeps its args", corev1.Container{Image: "model-server-sim", Args: []string{"--served-model-name", "qwen"}}, model("--served-model-name", "qwen")},
		{"a registry, a tag and a digest do not matter", corev1.Container{Image: "reg.example:5000/infer/model-server-sim:v1@sha256:00"}, model()},
		{"an image name ending in ours is ours", corev1.Container{Image: "acme-endpoint-picker:v2"}, Program{Name: EndpointPicker}},
		{"the reference picker's image is our picker", corev1.Container{Image: "registry.k8s.io/gateway-api-inference-extension/epp:v1.5.0", Args: []string{"--pool-name=a"}}, Program{Name: EndpointPicker, Args: []string{"--pool-name=a"}}},
		{"the reference body router's image is our body router", corev1.Container{Image: "registry.k8s.io/gateway-api-inference-extension/bbr:v1.5.0"}, Program{Name: BodyRouter}},
		{"a vLLM image's args are vllm serve's", corev1.Container{Image: "vllm/vllm-openai:v0.11.0", Args: []string{"--model", "Qwen/Qwen2.5-7B"}}, model("--model", "Qwen/Qwen2.5-7B")},
		{"any image whose path has vllm is a model server", corev1.Container{Image: "public.example/vllm-cpu-release-repo:v0.9", Args: []string{"--port=8000"}}, model("--port=8000")},
		{"vllm serve in the command", corev1.Container{Image: "x", Command: []string{"vllm", "serve", "Qwen/Q"}, Args: []string{"--port", "8000"}}, model("Qwen/Q", "--port", "8000")},
		{"vllm serve in the args", corev1.Container{Image: "x", Args: []string{"vllm", "serve", "Qwen/Q"}}, model("Qwen/Q")},
		{"python -m vllm.entrypoints", corev1.Container{Image: "x", Command: []string{"python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"}}, model("--model", "m")},
		{
			"vllm serve inside sh -c after other commands",
			corev1.Container{Image: "x", Command: []string{"/bin/bash", "-ec"}, Args: []string{"pip install foo && exec vllm serve \\\n  /models/q --lora-modules '{\"name\": \"a\"}' > /log 2>&1"}},
			model("/models/q", "--lora-modules", `{"name": "a"}`),
		},
		{"sh -c in the command alone", corev1.Container{Image: "x", Command: []string{"sh", "-c", `vllm serve "$MODEL" --port ${PORT}`}, Env: []corev1.EnvVar{{Name: "MODEL", Value: "a b"}, {Name: "PORT", Value: "81"}}}, model("a b", "--port", "81")},
		{"llm-d's simulator by command", corev1.Container{Image: "x", Command: []string{"/app/llm-d-inference-sim", "--model", "m"}}, model("--model", "m")},
		{"our multi-call binary by command", corev1.Container{Image: "x", Command: []string{"kubectl-infer-sandbox", "body-router"}}, Program{Name: BodyRouter}},
		{"sleep by command, whatever the image", corev1.Container{Image: "busybox", Command: []string{"sleep", "infinity"}}, Program{Name: "sleep", Local: true, Args: []string{"infinity"}}},
		{"sleep in a curl image's args", corev1.Container{Image: "curlimages/curl", Args: []string{"/bin/sleep", "3600"}}, Program{Name: "sleep", Local: true, Args: []string{"3600"}}},
		{"a curl image's args are curl's", corev1.Container{Image: "curlimages/curl:8.1", Args: []string{"-s", "http://x"}}, Program{Name: "curl", Local: true, Args: []string{"-s", "http://x"}}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			got, _, err := Resolve(tt.container, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Args) == 0 {
				got.Args = nil
			}
			if len(tt.want.Args) == 0 {
				tt.want.Args = nil
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("program (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolveRefusesTheRest(t *testing.T) {
	t.Parallel()
	tests := map[string]corev1.Container{
		"an unknown image":                            {Name: "c", Image: "nginx:1.27"},
		"an unknown command in a known image":         {Name: "c", Image: "vllm/vllm-openai", Command: []string{"rm", "-rf", "/"}},
		"vllm without serve":                          {Name: "c", Image: "x", Command: []string{"vllm", "bench"}},
		"sleep as another command's argument":         {Name: "c", Image: "x", Command: []string{"echo", "sleep", "1"}},
		"a shell script with nothing known inside it": {Name: "c", Image: "x", Command: []string{"sh", "-c", "echo hello"}},
	}
	for rule, c := range tests {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			_, _, err := Resolve(c, nil)
			if err == nil || !strings.Contains(hint.Of(err), "supported are") {
				t.Errorf("error %v with hint %q, want one naming what is supported", err, hint.Of(err))
			}
		})
	}
}

func TestResolveNotesWhatIsIgnored(t *testing.T) {
	t.Parallel()
	_, notes, err := Resolve(corev1.Container{
		Image:         "vllm/vllm-openai",
		LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}},
		VolumeMounts:  []corev1.VolumeMount{{Name: "shm"}},
		Env:           []corev1.EnvVar{{Name: "HF_TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"volumeMounts", "livenessProbe.exec", "env HF_TOKEN (valueFrom other than fieldRef)"}
	slices.Sort(want)
	slices.Sort(notes)
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestResolveTakesTheUsersOwnRowsFirst(t *testing.T) {
	t.Parallel()
	images := Images{"acme/server": "/opt/server", "acme/gpu:v1": ModelServer, "tool": "sleep"}
	tests := []struct {
		rule      string
		container corev1.Container
		want      Program
	}{
		{"a name without its tag", corev1.Container{Image: "acme/server:v2", Args: []string{"-x"}}, Program{Name: "/opt/server", Local: true, Args: []string{"-x"}}},
		{"a name with its tag, to a program of ours", corev1.Container{Image: "acme/gpu:v1@sha256:00"}, Program{Name: ModelServer}},
		{"the last part of a name, with a registry's port", corev1.Container{Image: "reg.example:5000/acme/tool"}, Program{Name: "sleep", Local: true}},
		{"it stands for the command's first word", corev1.Container{Image: "tool", Command: []string{"/bin/tool", "1"}, Args: []string{"2"}}, Program{Name: "sleep", Local: true, Args: []string{"1", "2"}}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			got, _, err := Resolve(tt.container, images)
			if err != nil || got.Name != tt.want.Name || got.Local != tt.want.Local || !slices.Equal(got.Args, tt.want.Args) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
	if got, _, err := Resolve(corev1.Container{Image: "acme/gpu:v2"}, images); err == nil {
		t.Errorf("another tag is resolved to %v", got)
	}
}
