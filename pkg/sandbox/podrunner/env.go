package podrunner

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// environment is what a container's process gets: the base (this machine's
// PATH and the contract's POD_IP and the like), overlaid with the container's
// own literals and fieldRefs, in order, with $(NAME) expanded. Sorted NAME=value.
func environment(base map[string]string, pod *corev1.Pod, c corev1.Container) []string {
	env := variables(base, pod, c)
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// variables is environment as a map.
func variables(base map[string]string, pod *corev1.Pod, c corev1.Container) map[string]string {
	env := maps.Clone(base)
	for _, e := range c.Env {
		switch {
		case e.ValueFrom == nil:
			env[e.Name] = expand(e.Value, env)
		case e.ValueFrom.FieldRef != nil:
			env[e.Name] = field(e.ValueFrom.FieldRef.FieldPath, pod, base["POD_IP"])
		}
	}
	return env
}

// field reads a downward API field; podIP is passed since the status may not
// have it yet. Unknown paths read as "".
func field(fieldPath string, pod *corev1.Pod, podIP string) string {
	switch fieldPath {
	case "metadata.name":
		return pod.Name
	case "metadata.namespace":
		return pod.Namespace
	case "metadata.uid":
		return string(pod.UID)
	case "spec.nodeName":
		return pod.Spec.NodeName
	case "spec.serviceAccountName":
		return serviceAccount(pod)
	case "status.podIP", "status.podIPs":
		return podIP
	case "status.hostIP", "status.hostIPs":
		return pod.Status.HostIP
	}
	if key, ok := subscript(fieldPath, "metadata.labels"); ok {
		return pod.Labels[key]
	}
	if key, ok := subscript(fieldPath, "metadata.annotations"); ok {
		return pod.Annotations[key]
	}
	return ""
}

func subscript(fieldPath, of string) (string, bool) {
	rest, ok := strings.CutPrefix(fieldPath, of+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// expand replaces $(NAME) by its value as the kubelet does: unknown names stay
// as they are, and $$ is a literal $.
func expand(text string, env map[string]string) string {
	return regexp.MustCompile(`\$\$|\$\([A-Za-z_][-._A-Za-z0-9]*\)`).ReplaceAllStringFunc(text, func(match string) string {
		if match == "$$" {
			return "$"
		}
		if value, ok := env[match[2:len(match)-1]]; ok {
			return value
		}
		return match
	})
}

func expandAll(args []string, env map[string]string) []string {
	expanded := make([]string, len(args))
	for i, arg := range args {
		expanded[i] = expand(arg, env)
	}
	return expanded
}

// serviceAccount is the name of the account a Pod runs as.
func serviceAccount(pod *corev1.Pod) string {
	if pod.Spec.ServiceAccountName == "" {
		return "default"
	}
	return pod.Spec.ServiceAccountName
}
