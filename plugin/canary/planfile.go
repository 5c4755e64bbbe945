package canary

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// A plan file says what the flags of a plan say, under the flags' own names in
// lowerCamelCase: scrapeInterval for --scrape-interval. So there is one list of
// fields, and the same plan has the same digest however it was given. What is
// special is told here: lists, and targets, which are arguments otherwise.
const (
	planAPIVersion = "kubectl-infer.github.io/v1alpha1"
	planKind       = "CanaryPlan"
	maxPlanFile    = 1 << 20
)

// fieldName is the plan file's name of a flag.
func fieldName(flag string) string {
	if flag == "gate" {
		return "gates"
	}
	words := strings.Split(flag, "-")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// planFields are the flags of a plan by their names in a file.
func (f *planFlags) planFields() map[string]*pflag.Flag {
	fields := map[string]*pflag.Flag{}
	f.own.VisitAll(func(flag *pflag.Flag) {
		fields[fieldName(flag.Name)] = flag
	})
	return fields
}

// planFile is a file that was read: where each of its fields stands.
type planFile struct {
	path    string
	lines   map[string]int
	targets []string
}

// at is an error about a field of the file, or about a line of it.
func (p *planFile) at(line int, err error) error {
	if strings.HasPrefix(err.Error(), p.path+":") {
		return err // of who knew the line better
	}
	next := hint.Of(err)
	if next == "" {
		next = "kubectl infer canary plan --schema"
	}
	return exit.With(exit.Usage, hint.Errorf(next, "%s:%d: %w", p.path, line, err))
}

// locate adds the file's line to an error of plan validation.
func (p *planFile) locate(err error) error {
	var field *rollout.FieldError
	if p == nil || !errors.As(err, &field) || p.lines[field.Field] == 0 {
		return exit.With(exit.Usage, err)
	}
	return p.at(p.lines[field.Field], err)
}

// read takes a plan file into the flags; "-" is in.
func (f *planFlags) read(in io.Reader) (*planFile, error) {
	p := &planFile{path: f.file, lines: map[string]int{}}
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, exit.With(exit.Usage, hint.Wrap(fmt.Errorf("read plan file: %w", err), "give -f the path of a plan file, or - for stdin"))
		}
		defer file.Close()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxPlanFile))
	if err != nil {
		return nil, fmt.Errorf("read plan file %s: %w", f.file, err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(raw, &document); err != nil {
		return nil, exit.With(exit.Usage, hint.Errorf("kubectl infer canary plan --schema", "plan file %s: %w", f.file, err))
	}
	if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		return nil, p.at(1, hint.Errorf("begin with stable, canary and steps", "the plan is not a mapping of fields"))
	}
	root := document.Content[0]
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if p.lines[key.Value] != 0 {
			return nil, p.at(key.Line, fmt.Errorf("field %q is given twice, first in line %d", key.Value, p.lines[key.Value]))
		}
		p.lines[key.Value] = key.Line
		if err := f.take(p, key.Value, value); err != nil {
			return nil, p.at(value.Line, err)
		}
	}
	return p, nil
}

// take is one field of the file.
func (f *planFlags) take(p *planFile, name string, value *yaml.Node) error {
	switch name {
	case "apiVersion", "kind":
		want := map[string]string{"apiVersion": planAPIVersion, "kind": planKind}[name]
		if value.Value != want {
			return hint.Errorf(name+": "+want, "%s is %q, not %s", name, value.Value, want)
		}
		return nil
	case "targets":
		list, err := scalars(name, value)
		p.targets = list
		return err
	}
	flag, known := f.planFields()[name]
	if !known {
		return unknownField(name, f.planFields())
	}
	if flag.Changed {
		return hint.Errorf("say it in one place", "%s is in the file and on the command line (--%s)", name, flag.Name)
	}
	if name != "steps" && name != "gates" && flag.Value.Type() != "stringArray" {
		if value.Kind != yaml.ScalarNode {
			return fmt.Errorf("%s is one value, not a list or a mapping", name)
		}
		return f.set(flag, value.Value)
	}
	list, err := scalars(name, value)
	if err != nil {
		return err
	}
	if name == "steps" {
		if _, _, err := rollout.ParseSteps(strings.Join(list, ",")); err != nil {
			return err
		}
		return f.set(flag, strings.Join(list, ","))
	}
	for i, text := range list {
		if name == "gates" {
			if _, err := gate.Parse(text); err != nil {
				return p.at(value.Content[i].Line, err)
			}
		}
		if err := f.set(flag, text); err != nil {
			return err
		}
	}
	return nil
}

// set gives a flag the value of a field.
func (f *planFlags) set(flag *pflag.Flag, text string) error {
	if err := f.own.Set(flag.Name, text); err != nil {
		return hint.Errorf(fieldName(flag.Name)+": "+example(flag), "%s: %q is not a %s", fieldName(flag.Name), text, valueKind(flag))
	}
	return nil
}

// valueKind is what a flag takes, in words.
func valueKind(flag *pflag.Flag) string {
	switch kind := flag.Value.Type(); kind {
	case "int":
		return "whole number"
	case "float64":
		return "number"
	case "bool":
		return "yes or no (true, false)"
	default:
		return kind
	}
}

// example is a value that a flag would take.
func example(flag *pflag.Flag) string {
	switch flag.Value.Type() {
	case "duration":
		return "30s"
	case "bool":
		return "true"
	case "int", "float64":
		return flag.DefValue
	}
	return "…"
}

// scalars reads a list of plain values.
func scalars(name string, value *yaml.Node) ([]string, error) {
	if value.Kind != yaml.SequenceNode || len(value.Content) == 0 {
		return nil, hint.Errorf(name+": [ … ]", "%s is a list of at least one value", name)
	}
	var list []string
	for _, item := range value.Content {
		switch {
		case item.Kind == yaml.ScalarNode:
			list = append(list, item.Value)
		case name == "steps" && item.Kind == yaml.MappingNode && len(item.Content) == 2 && item.Content[1].Value == "approve":
			list = append(list, item.Content[0].Value+":approve") // "25: approve", with the space YAML users write
		default:
			return nil, hint.Errorf(name+": [5, 25:approve, 50]", "line %d: %s holds plain values only", item.Line, name)
		}
	}
	return list, nil
}

func unknownField(name string, fields map[string]*pflag.Flag) error {
	for known := range fields {
		if strings.EqualFold(known, name) || fields[known].Name == name {
			return hint.Errorf(known+": …", "field %q is not known; did you mean %q?", name, known)
		}
	}
	return hint.Errorf("kubectl infer canary plan --schema", "field %q is not known", name)
}
