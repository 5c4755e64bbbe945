// Command kubectl-infer-sandbox is a whole inference gateway on one machine; `kubectl
// infer sandbox` runs it. It is also each server of the sandbox: called by a
// server's name, or with one as its first argument, it is that server, so that
// the sandbox needs no other file of ours. The commands are in
// pkg/sandbox/command.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	picker "github.com/kubectl-infer/kubectl-infer/picker/server"
	bodyrouter "github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter/server"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/command"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/podrunner"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	if serve := server(filepath.Base(args[0])); serve != nil {
		return exit(serve(ctx, args[1:], os.Stderr))
	}
	if len(args) > 1 {
		if serve := server(args[1]); serve != nil {
			return exit(serve(ctx, args[2:], os.Stderr))
		}
	}
	return command.Main(ctx, args[1:], genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr})
}

// server is the program of that name, or nil.
func server(name string) func(ctx context.Context, args []string, stderr io.Writer) error {
	switch name {
	case podrunner.BodyRouter:
		return bodyrouter.Main
	case podrunner.EndpointPicker:
		return picker.Main
	case podrunner.ModelServer:
		return modelsim.Main
	}
	return nil
}

func exit(err error) int {
	if err == nil {
		return command.ExitOK
	}
	fmt.Fprintf(os.Stderr, "error: %v\n", err)
	if advice := hint.Of(err); advice != "" {
		fmt.Fprintf(os.Stderr, "hint: %s\n", advice)
	}
	return command.ExitError
}
