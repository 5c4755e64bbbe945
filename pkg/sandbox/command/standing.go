package command

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

// faultsLimit is how long status waits for one sandbox's API server.
const faultsLimit = 3 * time.Second

// standing is what status says of one sandbox.
type standing struct {
	sandbox.State
	Faults []brokenTarget `json:"faults,omitempty"`
}

// brokenTarget is a Deployment or a Pod that `break` has broken.
type brokenTarget struct {
	Namespace string          `json:"namespace"`
	Target    string          `json:"target"` // kind/name
	Faults    modelsim.Faults `json:"faults"`
	Says      string          `json:"says"` // in words
}

// standingOf adds to a state what is broken. That it cannot be asked is said on
// stderr and is no error: the state itself is known.
func (c *cli) standingOf(ctx context.Context, state sandbox.State) standing {
	one := standing{State: state}
	if state.Phase != sandbox.Running {
		return one
	}
	ctx, cancel := context.WithTimeout(ctx, faultsLimit)
	defer cancel()
	var err error
	if one.Faults, err = c.faultsIn(ctx, state); err != nil {
		fmt.Fprintf(c.ErrOut, "sandbox %q: what is broken in it is not known: %v\n", state.Name, err)
	}
	return one
}

func (c *cli) faultsIn(ctx context.Context, state sandbox.State) ([]brokenTarget, error) {
	config, err := clientcmd.BuildConfigFromFlags("", state.Kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	b := breaker{cli: c, client: client}
	found, err := b.broken(ctx)
	var all []brokenTarget
	for _, t := range found {
		one := brokenTarget{Namespace: t.namespace, Target: t.String()}
		if err := json.Unmarshal([]byte(t.faults), &one.Faults); err != nil {
			one.Says = fmt.Sprintf("has faults that cannot be read: %v", err)
		} else {
			one.Says = describeFaults(one.Faults)
		}
		all = append(all, one)
	}
	return all, err
}
