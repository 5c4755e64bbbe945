package podrunner

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// The programs of this project that a container can become.
const (
	ModelServer    = "model-server-sim"
	EndpointPicker = "endpoint-picker"
	BodyRouter     = "body-router"
)

// supported is what an unsupported container is told.
const supported = "supported are vLLM images and commands, llm-d-inference-sim, model-server-sim, endpoint-picker (epp), body-router (bbr), sleep and curl; others of your own with sandbox up --image IMAGE=BINARY"

// Program is what runs in place of a container.
type Program struct {
	// Name is one of ModelServer, EndpointPicker and BodyRouter, or with Local
	// a command of this machine: a path, or a name to be found on PATH.
	Name string
	// Local says that Name is a command of this machine.
	Local bool
	// Args are the program's arguments, not yet expanded.
	Args []string
}

// imageNames maps the last part of an image's name to the program that stands
// for it. The reference's image names are here so that its charts work as they are.
func imageNames() map[string]Program {
	own := func(name string) Program { return Program{Name: name} }
	return map[string]Program{
		"model-server-sim":    own(ModelServer),
		"llm-d-inference-sim": own(ModelServer),
		"vllm-openai":         own(ModelServer),
		"vllm":                own(ModelServer),
		"endpoint-picker":     own(EndpointPicker),
		"epp":                 own(EndpointPicker),
		"body-router":         own(BodyRouter),
		"bbr":                 own(BodyRouter),
		"curl":                {Name: "curl", Local: true},
	}
}

// commandNames maps a command's base name in the same way.
func commandNames() map[string]Program {
	names := imageNames()
	delete(names, "vllm") // only `vllm serve` is a model server
	delete(names, "vllm-openai")
	names["sleep"] = Program{Name: "sleep", Local: true}
	return names
}

// Images are a user's own rows of the table, --image IMAGE=BINARY: an image's
// name, in full or its last part, with its tag or without, to the program that
// stands for its entry point: one of ours, a path, or a name on PATH.
type Images map[string]string

// find returns the row for an image.
func (images Images) find(image string) (Program, bool) {
	whole, _, _ := strings.Cut(image, "@")
	bare := whole
	if colon := strings.LastIndexByte(bare, ':'); colon > strings.LastIndexByte(bare, '/') {
		bare = bare[:colon]
	}
	for _, name := range []string{image, whole, bare, path.Base(whole), path.Base(bare)} {
		if binary, ok := images[name]; ok {
			return Program{Name: binary, Local: !slices.Contains([]string{ModelServer, EndpointPicker, BodyRouter}, binary)}, true
		}
	}
	return Program{}, false
}

// Resolve decides which local program stands for a container: the user's own
// row for its image; its command where it has one (also inside `sh -c "…"`);
// else its image. The notes say what of the container is ignored. The error,
// with a hint, names what is supported.
func Resolve(c corev1.Container, images Images) (Program, []string, error) {
	notes := ignored(c)
	if program, ok := images.find(c.Image); ok {
		program.Args = slices.Concat(c.Command[min(1, len(c.Command)):], c.Args)
		return program, notes, nil
	}
	if len(c.Command) > 0 {
		program, ok := fromCommand(slices.Concat(c.Command, c.Args), literals(c))
		if !ok {
			return Program{}, notes, hint.Errorf(supported, "container %s: command %q has no local program", c.Name, strings.Join(c.Command, " "))
		}
		return program, notes, nil
	}
	if isShell(c.Args) || firstIsCommand(c.Args) {
		if program, ok := fromCommand(c.Args, literals(c)); ok {
			return program, notes, nil
		}
	}
	program, ok := fromImage(c.Image)
	if !ok {
		return Program{}, notes, hint.Errorf(supported, "container %s: image %q has no local program", c.Name, c.Image)
	}
	program.Args = slices.Clone(c.Args)
	return program, notes, nil
}

func firstIsCommand(args []string) bool {
	if len(args) == 0 {
		return false
	}
	_, known := commandNames()[path.Base(args[0])]
	return known || path.Base(args[0]) == "vllm"
}

func fromImage(image string) (Program, bool) {
	image, _, _ = strings.Cut(image, "@")
	last := path.Base(image)
	last, _, _ = strings.Cut(last, ":")
	if program, ok := imageNames()[last]; ok {
		return program, true
	}
	for _, own := range []string{ModelServer, EndpointPicker, BodyRouter} {
		if strings.HasSuffix(last, own) {
			return Program{Name: own}, true
		}
	}
	if strings.Contains(image, "vllm") {
		return Program{Name: ModelServer}, true
	}
	return Program{}, false
}

// fromCommand finds a known program in an argument vector.
func fromCommand(words []string, env map[string]string) (Program, bool) {
	if isShell(words) {
		for _, command := range splitShell(shellText(words), env) {
			if program, ok := fromCommand(command, env); ok {
				return program, true
			}
		}
		return Program{}, false
	}
	for i, word := range words {
		rest := words[i+1:]
		switch base := path.Base(word); {
		case base == "vllm" && len(rest) > 0 && rest[0] == "serve":
			return Program{Name: ModelServer, Args: slices.Clone(rest[1:])}, true
		case strings.HasPrefix(word, "vllm.entrypoints"):
			return Program{Name: ModelServer, Args: slices.Clone(rest)}, true
		case i == 0 || isPrefixWord(words[:i]):
			if program, ok := commandNames()[base]; ok {
				program.Args = slices.Clone(rest)
				return program, true
			}
		}
	}
	return Program{}, false
}

// isPrefixWord reports whether words only lead up to a command: exec, env,
// assignments, and the names our multi-call binary goes by.
func isPrefixWord(words []string) bool {
	for _, word := range words {
		base := path.Base(word)
		if base != "exec" && base != "env" && base != "nohup" && base != "kubectl-infer-sandbox" && !strings.Contains(word, "=") {
			return false
		}
	}
	return true
}

func isShell(words []string) bool {
	return len(words) > 2 && slices.Contains([]string{"sh", "bash", "ash", "dash"}, path.Base(words[0])) && shellText(words) != ""
}

// shellText is the script of `sh [-e…] -c SCRIPT`.
func shellText(words []string) string {
	for i, word := range words[1:] {
		if strings.HasPrefix(word, "-") && strings.HasSuffix(word, "c") && i+2 < len(words) {
			return words[i+2]
		}
	}
	return ""
}

func literals(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			env[e.Name] = e.Value
		}
	}
	return env
}

// ignored names, once, what of a container has no effect here.
func ignored(c corev1.Container) []string {
	var notes []string
	note := func(when bool, what string) {
		if when {
			notes = append(notes, what)
		}
	}
	note(len(c.Resources.Requests)+len(c.Resources.Limits) > 0, "resources")
	note(len(c.VolumeMounts) > 0, "volumeMounts")
	note(c.Lifecycle != nil, "lifecycle")
	note(len(c.EnvFrom) > 0, "envFrom")
	byCommand := func(p *corev1.Probe) bool { return p != nil && p.Exec != nil }
	note(byCommand(c.ReadinessProbe), "readinessProbe.exec")
	note(byCommand(c.LivenessProbe), "livenessProbe.exec")
	note(byCommand(c.StartupProbe), "startupProbe.exec")
	for _, e := range c.Env {
		note(e.ValueFrom != nil && e.ValueFrom.FieldRef == nil, "env "+e.Name+" (valueFrom other than fieldRef)")
	}
	return notes
}
