package plugin

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// wrongLetters is how many letters of a name may be wrong for it to be meant.
const wrongLetters = 2

// misused makes a usage error of what a command's argument check said.
func misused(cmd *cobra.Command, err error) error {
	var coded *exit.Error
	if err == nil || errors.As(err, &coded) {
		return err
	}
	return exit.With(exit.Usage, hint.Wrap(err, cmd.CommandPath()+" --help"))
}

func suggestion(cmd *cobra.Command, typed string) string {
	cmd.SuggestionsMinimumDistance = wrongLetters
	if names := cmd.SuggestionsFor(typed); len(names) > 0 {
		return fmt.Sprintf("; did you mean %q?", names[0])
	}
	return ""
}

// mistypedFlag names the flag that was meant, if one is near.
func mistypedFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if name := nearest(cmd.Flags(), unknown.GetSpecifiedName()); name != "" {
			err = fmt.Errorf("%w; did you mean --%s?", err, name)
		}
	}
	return exit.With(exit.Usage, hint.Wrap(err, cmd.CommandPath()+" --help"))
}

// nearest is the flag whose name takes the fewest letters to make of typed; ""
// when each takes too many.
func nearest(flags *pflag.FlagSet, typed string) string {
	best, name := wrongLetters+1, ""
	flags.VisitAll(func(flag *pflag.Flag) {
		if d := distance(typed, flag.Name); d < best && d < len(typed) && !flag.Hidden {
			best, name = d, flag.Name
		}
	})
	return name
}

// distance is how many letters must be put in, taken out or changed to make b of
// a (V. I. Levenshtein, Soviet Physics Doklady 10, 1966, 707-710).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
