package plugin

import (
	"errors"
	"fmt"
	"io"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// conclude prints err with its hint and returns the exit code it stands for.
func conclude(stderr io.Writer, err error) int {
	if err == nil {
		return int(exit.OK)
	}
	var coded *exit.Error
	if errors.As(err, &coded) && coded.Quiet {
		return int(coded.Code)
	}
	err = kube.Explain(err)
	fmt.Fprintf(stderr, "error: %v\n", err)
	if next := hint.Of(err); next != "" {
		fmt.Fprintf(stderr, "hint: %s\n", next)
	}
	return int(exit.CodeOf(err))
}
