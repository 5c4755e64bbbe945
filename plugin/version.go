package plugin

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/version"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

func newVersion(streams genericiooptions.IOStreams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print which build this is",
		Example: "  kubectl infer version -o json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.With(exit.Usage, hint.Errorf("kubectl infer version", "version takes no arguments, got %q", args))
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			info := version.Get()
			switch output {
			case "":
				_, err := fmt.Fprintf(streams.Out, "kubectl-infer %s %s %s %s\n", info.Version, info.Revision, info.Go, info.Platform)
				return err
			case "json":
				return json.NewEncoder(streams.Out).Encode(info)
			default:
				return exit.With(exit.Usage, hint.Errorf("kubectl infer version -o json", "--output %q is not json", output))
			}
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or empty for one line")
	return cmd
}
