// Package option has the flags that several verb groups share.
package option

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// Kube are kubectl's connection flags, as a set that help can show once.
func Kube(flags *genericclioptions.ConfigFlags) *pflag.FlagSet {
	set := pflag.NewFlagSet("kube", pflag.ContinueOnError)
	flags.AddFlags(set)
	return set
}

// Choice refuses a value that is none of those allowed, of which the first that is
// not empty is the hint: the default, by custom.
func Choice(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	first := slices.IndexFunc(allowed, func(a string) bool { return a != "" })
	return exit.With(exit.Usage, hint.Errorf(fmt.Sprintf("%s=%s", flag, allowed[first]), "%s %q is not one of %q", flag, value, allowed))
}

// NoArgs refuses arguments as a usage error. It stands for cobra.NoArgs, whose
// error has no exit code of its own.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return exit.With(exit.Usage, hint.Errorf(cmd.CommandPath()+" --help", "%s takes no arguments, got %q", cmd.CommandPath(), args))
}
