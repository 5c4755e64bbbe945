package command

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/podrunner"
)

// Values of --low-ports.
const (
	lowPortsAuto = "auto"
	lowPortsOff  = "off"
)

// settings are the flags of `up` and `run` that shape a sandbox.
type settings struct {
	lowPorts   string
	pickerMode string
	defects    []string
	provision  bool
	audit      bool
	rewrite    string
	images     map[string]string
}

func (s *settings) register(f *pflag.FlagSet) {
	f.StringVar(&s.lowPorts, "low-ports", lowPortsAuto, "listener ports below 1024: auto binds them where that is allowed and serves the others at port + 8000, off serves all of them there")
	f.StringVar(&s.pickerMode, "picker-mode", string(xds.PickerBuffered), "how bodies reach endpoint pickers: buffered, or full-duplex as the providers have it")
	f.StringSliceVar(&s.defects, "defect", nil, "make the gateway wrong as real ones are, for tests: "+strings.Join(translate.DefectNames(), ", ")+"; repeatable")
	f.BoolVar(&s.provision, "provision-pickers", true, "make the picker of a pool whose picker Service is missing, at Gateways of ACK's class, as ACK does")
	f.BoolVar(&s.audit, "audit", false, "have the API server write who asked for what into audit.log, beside its other logs")
	f.StringVar(&s.rewrite, "model-rewrite", string(sandbox.ShapeTargets), "what InferenceModelRewrites of inference.networking.x-k8s.io call their list: targets (inference extension v1.3 to v1.5) or split (v1.2); those of llm-d.ai always say targets")
	f.StringToStringVar(&s.images, "image", nil, "IMAGE=BINARY: run a program of this machine (a path, a name on PATH, or one of ours) for containers of an image; repeatable")
}

// options checks the flags.
func (s *settings) options() (sandbox.Options, error) {
	var o sandbox.Options
	if s.lowPorts != lowPortsAuto && s.lowPorts != lowPortsOff {
		return o, hint.Errorf(fmt.Sprintf("use %s or %s", lowPortsAuto, lowPortsOff), "unknown --low-ports %q", s.lowPorts)
	}
	mode := xds.PickerMode(s.pickerMode)
	if mode != xds.PickerBuffered && mode != xds.PickerFullDuplex {
		return o, hint.Errorf(fmt.Sprintf("use %s or %s", xds.PickerBuffered, xds.PickerFullDuplex), "unknown --picker-mode %q", s.pickerMode)
	}
	shape := sandbox.RewriteShape(s.rewrite)
	if shape != sandbox.ShapeTargets && shape != sandbox.ShapeSplit {
		return o, hint.Errorf(fmt.Sprintf("use %s or %s", sandbox.ShapeTargets, sandbox.ShapeSplit), "unknown --model-rewrite %q", s.rewrite)
	}
	defects, err := translate.ParseDefects(s.defects)
	if err != nil {
		return o, hint.Wrap(err, "see kubectl infer sandbox up --help")
	}
	o.PickerMode, o.Defects, o.ProvisionPickers, o.Audit, o.Images = mode, defects, s.provision, s.audit, podrunner.Images{}
	o.LowPorts, o.ModelRewrite = s.lowPorts == lowPortsAuto, shape
	for image, binary := range s.images {
		if !slices.Contains([]string{podrunner.ModelServer, podrunner.EndpointPicker, podrunner.BodyRouter}, binary) {
			path, err := exec.LookPath(binary)
			if err != nil {
				return o, hint.Errorf("give a path, or a name on PATH", "find the program of --image %s=%s: %w", image, binary, err)
			}
			if binary, err = filepath.Abs(path); err != nil { // Pods have a folder of their own
				return o, err
			}
		}
		o.Images[image] = binary
	}
	return o, nil
}

// arguments gives the flags to the supervisor of a detached sandbox.
func (s *settings) arguments() []string {
	args := []string{"--low-ports", s.lowPorts, "--picker-mode", s.pickerMode, fmt.Sprintf("--provision-pickers=%t", s.provision), fmt.Sprintf("--audit=%t", s.audit), "--model-rewrite", s.rewrite}
	for _, defect := range s.defects {
		args = append(args, "--defect", defect)
	}
	for _, image := range slices.Sorted(maps.Keys(s.images)) {
		args = append(args, "--image", image+"="+s.images[image])
	}
	return args
}

// restarts tells of crashes in a line each: "envoy crashed and was started again 2 times".
func restarts(state sandbox.State) string {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(state.Restarts)) {
		fmt.Fprintf(&lines, "sandbox %q: %s crashed and was started again %d times; see kubectl infer sandbox logs %s\n", state.Name, name, state.Restarts[name], name)
	}
	return lines.String()
}
