// Command body-router lifts the model name out of request bodies into the header
// that HTTPRoutes match. Start reading at package bodyrouter.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter/server"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.Main(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		if h := hint.Of(err); h != "" {
			fmt.Fprintln(os.Stderr, "hint:", h)
		}
		stop()
		os.Exit(1)
	}
}
