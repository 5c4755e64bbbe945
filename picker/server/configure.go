package server

import (
	"fmt"
	"maps"
	"os"
	"strconv"

	"github.com/kubectl-infer/kubectl-infer/picker/config"
	"github.com/kubectl-infer/kubectl-infer/picker/score"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// configure puts the configuration file in force, and over it the flags that are
// set.
func (o *options) configure(r *raw) error {
	o.weights = score.Weights{}
	for _, name := range score.Names() {
		o.weights[name] = 1
	}
	if err := o.readConfig(r); err != nil {
		return err
	}
	for name, text := range r.weights {
		weight, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("--scorer-weights %s=%s: not a number", name, text)
		}
		o.weights[name] = weight
	}
	scorers, err := score.New(o.weights)
	if err != nil {
		return fmt.Errorf("--scorer-weights: %w", err)
	}
	o.scorers = scorers
	return nil
}

func (o *options) readConfig(r *raw) error {
	flag, text := "--config-text", []byte(r.configText)
	switch {
	case r.configFile != "" && r.configText != "":
		return hint.Errorf("drop one of them", "--config-file %s: --config-text is set too", r.configFile)
	case r.configFile != "":
		var err error
		if text, err = os.ReadFile(r.configFile); err != nil {
			return hint.Wrap(fmt.Errorf("--config-file: %w", err), "without a file, the defaults hold")
		}
		flag = "--config-file " + r.configFile
	case r.configText == "":
		return nil
	}
	c, err := config.Read(text)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	o.unused = c.Unused
	maps.Copy(o.weights, c.Weights)
	unless(o, "shed-queue-threshold", &o.shedQueue, c.ShedQueue)
	unless(o, "shed-kv-cache-threshold", &o.shedKVCache, c.ShedKVCache)
	unless(o, "max-endpoints", &o.maxChoice, c.MaxEndpoints)
	unless(o, "model-server-metrics-scheme", &o.source.Scheme, c.Scheme)
	unless(o, "model-server-metrics-path", &o.source.Path, c.Path)
	unless(o, "model-server-metrics-https-insecure-skip-verify", &o.insecure, c.Insecure)
	return nil
}

// unless takes what the file says, unless a flag says otherwise.
func unless[T any](o *options, flag string, into *T, said *T) {
	if said != nil && !o.command.Changed(flag) {
		*into = *said
	}
}
