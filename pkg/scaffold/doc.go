// Package scaffold makes Kubernetes objects from options. Everything in it is a
// pure function: it reads no cluster and writes none, so that what a command
// will make can be tested, printed and reviewed before anything is sent.
//
// Start at Routes: HTTPRoutes that send each model's name to its InferencePool.
// AdapterMaps are the ConfigMaps that the body router reads beside them,
// Policies the limits of a route or a Gateway, Shadow the Service that a mirror
// copies to, and Overlaps says which routes of
// the same Gateway stand in each other's way.
package scaffold

import (
	"strconv"
	"strings"
)

// What every object of ours carries. ManagedBy is the label by which all of it
// is found again, CreatedBy says which verb made it.
const (
	ManagedBy = "app.kubernetes.io/managed-by"
	Manager   = "kubectl-infer"
	CreatedBy = "kubectl-infer.github.io/created-by"
)

// Labels are those of an object that verb made.
func Labels(verb string) map[string]string {
	return map[string]string{ManagedBy: Manager, CreatedBy: verb}
}

// maxLabel is the longest DNS label (RFC 1123), in bytes.
const maxLabel = 63

// labelSet are the DNS labels in use.
type labelSet map[string]bool

// take makes a free label of a model's name: lower case, what is neither letter
// nor digit becomes a dash, at most maxLabel bytes, with a number when another
// model's label is the same.
func (s labelSet) take(model string) string {
	base := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(model))
	if base = strings.Trim(base, "-"); base == "" {
		base = "model"
	}
	label, tail := "", ""
	for n := 2; label == "" || s[label]; n++ {
		label = strings.TrimRight(base[:min(len(base), maxLabel-len(tail))], "-") + tail
		tail = "-" + strconv.Itoa(n)
	}
	s[label] = true
	return label
}
