package canary

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// How the canary is asked for a first token before its share first rises.
const (
	probeAuto    = "auto" // probePod where pods are reached
	probePod     = "pod"
	probeGateway = "gateway"
	probeNone    = "none"
)

// probing are the flags of the question that every canary is asked before it
// gets traffic: does it answer under every name that stable answers to?
type probing struct {
	mode    string
	url     string
	headers []string
	models  []string
}

func (p *probing) add(cmd *cobra.Command) {
	set := cmd.Flags()
	set.StringVar(&p.mode, "probe", probeAuto,
		"before the first raise, ask the canary for a first token of every model that stable lists: every pod itself (pod), through a rule of the gateway that leads to the canary alone (gateway), auto for pod where pods are reached, or none")
	set.StringVar(&p.url, "probe-url", "", "for --probe=gateway: where the gateway is reached, as http://HOST:PORT and the path before /v1, if any")
	set.StringArrayVar(&p.headers, "probe-header", nil, "for --probe=gateway: NAME=VALUE by which the rule knows these requests, or a key; repeatable; Host=NAME for the host name")
	set.StringArrayVar(&p.models, "probe-model", nil, "for --probe=gateway: a model to ask for; repeatable (default what stable's pods list, or the canary's target model)")
}

func (p *probing) check() error {
	if err := option.Choice("--probe", p.mode, probeAuto, probePod, probeGateway, probeNone); err != nil {
		return err
	}
	if p.mode != probeGateway {
		if p.url != "" || len(p.headers) > 0 || len(p.models) > 0 {
			return exit.With(exit.Usage, hint.Errorf("--probe=gateway", "--probe-url, --probe-header and --probe-model say how to probe through the gateway, and --probe is %s", p.mode))
		}
		return nil
	}
	if u, err := url.Parse(p.url); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return exit.With(exit.Usage, hint.Errorf("--probe-url http://HOST:PORT", "--probe=gateway asks at --probe-url, and %q is no address", p.url))
	}
	_, err := p.header()
	return err
}

func (p *probing) header() (http.Header, error) {
	header := http.Header{}
	for _, text := range p.headers {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, exit.With(exit.Usage, hint.Errorf("--probe-header NAME=VALUE", "--probe-header %q has no name and value", text))
		}
		header.Add(name, value)
	}
	return header, nil
}

// ask puts the question, or notes why not.
func (p *probing) ask(ctx context.Context, ready *prepared) error {
	switch {
	case p.mode == probeNone:
		return nil
	case p.mode == probeGateway:
		header, err := p.header()
		if err != nil {
			return err
		}
		tokens, err := ready.evidence.ProbeThrough(ctx, evidence.Way{URL: p.url, Header: header, Models: p.models})
		if err == nil {
			ready.notes = append(ready.notes, fmt.Sprintf("the canary answers through the gateway for every model asked (%d first tokens, counted by the canary itself)", tokens))
		}
		return err
	case p.mode == probeAuto && !ready.evidence.Reached():
		ready.notes = append(ready.notes, "no canary pod was asked for a token, since the metrics come from elsewhere: --probe=pod asks, or --probe=gateway")
		return nil
	}
	tokens, err := ready.evidence.Probe(ctx)
	if err == nil {
		ready.notes = append(ready.notes, fmt.Sprintf("every ready canary pod answers for every model of stable (%d first tokens)", tokens))
	}
	return err
}
