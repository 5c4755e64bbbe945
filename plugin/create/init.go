package create

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

const initExample = "kubectl infer init chat --name qwen --model example/qwen-7b --provider istio"

// project is the command line of init.
type project struct {
	base
	server   server
	options  scaffold.ProjectOptions
	registry string
	force    bool
}

// NewInit is `kubectl infer init`.
func NewInit(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	p := &project{base: base{flags: flags, streams: streams}}
	cmd := &cobra.Command{
		Use:   "init DIR --model MODEL",
		Short: "Write a directory with everything for a first deployment",
		Long: `Write a directory with everything for a first deployment.

Gateway, body router where the provider needs one, model server, pool, endpoint
picker, route and limits: a file for each, in the order in which one needs the
other, with a comment, and a kustomization that kubectl apply -k and Argo CD take.
Nothing is sent. The provider is the one that the cluster shows, or --provider:
` + provider.Help(),
		Example: `  ` + initExample + `
  kubectl apply -k chat

  # on the sandbox, without GPUs
  kubectl infer init chat --name qwen --model qwen --simulated --provider sandbox`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args) },
	}
	cmd.Flags().AddFlagSet(option.Kube(flags))
	set := cmd.Flags()
	p.server.add(set)
	set.StringVar(&p.name, "name", "", "name of the pool, its model server and its route; default is made of the model's name")
	set.StringVar(&p.options.Gateway, "gateway", "inference-gateway", "name of the Gateway")
	set.StringVar(&p.options.Class, "gateway-class", "", "GatewayClass that exists; default is the provider's own")
	set.IntVar(&p.options.Port, "gateway-port", 80, "port of its listener")
	set.StringVar(&p.options.PoolAPI, "pool-api", "", provider.PoolV1+" or "+provider.PoolV1alpha2+"; default is the provider's newest")
	set.DurationVar(&p.options.Timeout, "timeout", time.Hour, "time for a whole request")
	set.StringVar(&p.registry, "registry", "", "registry or repository before the names of kubectl-infer's images")
	set.BoolVar(&p.force, "force", false, "write into a directory that is not empty, over files of the same names")
	p.addProvider(set)
	return cmd
}

func (p *project) run(ctx context.Context, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return exit.With(exit.Usage, hint.Errorf(initExample, "one DIR is wanted, got %d", len(args)))
	}
	namespace, _, err := p.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return fmt.Errorf("read namespace from kubeconfig: %w", err)
	}
	o := p.options
	if o.Server, err = p.server.read(); err != nil {
		return exit.With(exit.Usage, err)
	}
	if o.Server.Port = 8000; p.name == "" {
		p.name = scaffold.NameOf(o.Server)
	}
	if problems := validation.IsDNS1123Label(p.name); len(problems) > 0 {
		return exit.With(exit.Usage, hint.Errorf("--name qwen", "name %q: %s", p.name, problems[0]))
	}
	if err := scaffold.CheckDuration("--timeout", o.Timeout); err != nil {
		return exit.With(exit.Usage, err)
	}
	o.About = p.about("init", namespace)
	o.Images = scaffold.Images{BodyRouter: scaffold.Image(p.registry, "body-router"), Picker: scaffold.Image(p.registry, "endpoint-picker")}
	if o.Provider, err = p.find(ctx); err != nil {
		return err
	}
	files, err := scaffold.Project(o)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	return p.write(args[0], files)
}

// find is the provider that is named, or that the cluster shows.
func (p *project) find(ctx context.Context) (provider.Provider, error) {
	if p.provider != "" {
		return p.settle(ctx, nil, "")
	}
	clients, err := kube.New(p.flags)
	if err != nil {
		return provider.Provider{}, err
	}
	found, err := p.settle(ctx, clients, p.options.Class)
	return found, hint.Wrap(err, "--provider NAME asks no cluster")
}

// write makes the directory. It never removes a file.
func (p *project) write(dir string, files []scaffold.File) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read directory %s: %w", dir, err)
	}
	if len(entries) > 0 && !p.force {
		return exit.With(exit.PreflightRefused, hint.Errorf("name a new directory, or write into it with --force", "directory %s is not empty", dir))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	ours := map[string]bool{}
	for _, f := range files {
		ours[f.Name] = true
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, f.Text, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		fmt.Fprintln(p.streams.Out, path)
	}
	for _, e := range entries {
		if !ours[e.Name()] && strings.HasSuffix(e.Name(), ".yaml") {
			p.note("%s was there before and is in no kustomization of init's", filepath.Join(dir, e.Name()))
		}
	}
	p.note("next: kubectl apply -k %s", dir)
	return nil
}
