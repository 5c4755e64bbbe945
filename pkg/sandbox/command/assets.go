package command

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

func (c *cli) assets() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "assets [NAME...]",
		Short: "Say where the real programs come from, and obtain those that are missing",
		Example: `  kubectl infer sandbox assets
  kubectl infer sandbox assets prometheus
  KUBEBUILDER_ASSETS=/opt/envtest kubectl infer sandbox assets -o json`,
		Args: usage(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			store, err := assets.NewStore()
			if err != nil {
				return err
			}
			all, err := store.Obtain(cmd.Context(), func(line string) { fmt.Fprintln(c.ErrOut, line) }, names...)
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(c.Out, all)
			}
			t := tabwriter.NewWriter(c.Out, 0, 0, 3, ' ', 0)
			fmt.Fprintln(t, "NAME\tVERSION\tSOURCE\tFROM\tPATH")
			for _, a := range all {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", a.Name, a.Version, a.Source, dash(a.From), a.Path)
			}
			return t.Flush()
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output format: json")
	return cmd
}
