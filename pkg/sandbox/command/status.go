package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

func (c *cli) status() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List the sandboxes that are running, and clear away what killed ones left",
		Long: `Lists the sandboxes that are running, says which of their parts crashed and what
is broken in them, and clears away what killed ones left.`,
		Example: `  kubectl infer sandbox status
  kubectl infer sandbox status --name rehearsal -o json`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			home, err := sandbox.NewHome()
			if err != nil {
				return err
			}
			states, cleared, err := home.List()
			for _, name := range cleared {
				fmt.Fprintf(c.ErrOut, "sandbox %q had been killed; its files are removed\n", name)
			}
			if err != nil {
				return err
			}
			if name := c.chosen(); name != "" {
				state, err := home.Find(name)
				if err != nil {
					return err
				}
				states = []sandbox.State{state}
			}
			known := make([]standing, 0, len(states))
			for _, state := range states {
				known = append(known, c.standingOf(cmd.Context(), state))
			}
			if output == "json" {
				return writeJSON(c.Out, known)
			}
			for _, name := range home.Ended() {
				reason, _, _ := strings.Cut(home.EndOf(name), "\n")
				fmt.Fprintf(c.ErrOut, "sandbox %q ended by itself: %s\n", name, reason)
			}
			if len(states) == 0 {
				fmt.Fprintln(c.ErrOut, "no sandbox is running")
				return nil
			}
			for _, one := range known {
				fmt.Fprint(c.ErrOut, restarts(one.State))
				for _, f := range one.Faults {
					fmt.Fprintf(c.ErrOut, "sandbox %q: %s in namespace %s %s\n", one.Name, f.Target, f.Namespace, f.Says)
				}
			}
			return statusTable(c.Out, states, time.Now())
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output format: json")
	return cmd
}

func statusTable(w io.Writer, states []sandbox.State, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "NAME\tPHASE\tGATEWAY\tCONTEXT\tKUBECONFIG\tAGE")
	for _, s := range states {
		age := "-"
		if !s.Started.IsZero() {
			age = now.Sub(s.Started).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Phase, dash(s.Gateway), dash(s.Context), dash(s.Kubeconfig), age)
	}
	return t.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
