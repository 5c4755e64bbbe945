// Package scaffold makes Kubernetes objects from options. Everything in it is a
// pure function: it reads no cluster and writes none, so that what a command
// will make can be tested, printed and reviewed before anything is sent.
//
// A function for each kind of thing, all by the provider of the gateway (package
// provider): Gateway, ModelServer, Pool, Picker, BodyRouter and Wiring (how a
// gateway comes to call it), ModelObjects, Routes, Policies. Each refuses what the
// provider cannot do, with the reason and what to do instead. Project is all of
// them as a directory. AdapterMaps are the ConfigMaps that the body router reads,
// Shadow is the Service that a mirror copies to,
// and Overlaps says which routes of a Gateway stand in each other's way.
//
// manifests/ is what these functions make, held equal by a test.
package scaffold

import (
	"strconv"
	"strings"
)

// What every object of ours carries. ManagedBy is the label by which all of it
// is found again, CreatedBy says which verb made it, PartOf of what that install
// put there it is a part.
const (
	ManagedBy = "app.kubernetes.io/managed-by"
	Manager   = "kubectl-infer"
	CreatedBy = "kubectl-infer.github.io/created-by"
	PartOf    = "app.kubernetes.io/part-of"
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
