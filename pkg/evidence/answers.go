package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// answerTokens bounds one answer that is compared.
const answerTokens = 64

// Answer asks one ready pod of each arm for the same completion at temperature
// 0, under the first name that stable lists, directly and not through a gateway.
func (a *Arms) Answer(ctx context.Context, prompt string) (stable, canary string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	names, err := a.names(ctx)
	if err != nil {
		return "", "", err
	}
	if len(names) == 0 {
		return "", "", hint.Errorf("leave --compare-answers out until it serves a model", "no ready pod of %s lists a model", a.stable().pool)
	}
	body, err := json.Marshal(map[string]any{"model": names[0], "prompt": prompt, "max_tokens": answerTokens, "temperature": 0})
	if err != nil {
		return "", "", err
	}
	texts := make([]string, len(a.sides))
	for i, side := range a.sides {
		if texts[i], err = a.completion(ctx, side, body); err != nil {
			return "", "", err
		}
	}
	return texts[0], texts[1], nil
}

// completion is the answer of an arm's first ready pod.
func (a *Arms) completion(ctx context.Context, side *arm, body []byte) (string, error) {
	for i := range side.pods.servers {
		pod := &side.pods.servers[i]
		if !ready(pod) {
			continue
		}
		var answer struct{ Choices []struct{ Text string } }
		if err := a.ask(ctx, side, pod, http.MethodPost, "v1/completions", body, &answer); err != nil {
			return "", fmt.Errorf("ask pod %s of %s: %w", pod.Name, side.pool, err)
		}
		if len(answer.Choices) == 0 {
			return "", fmt.Errorf("ask pod %s of %s: the answer has no choices", pod.Name, side.pool)
		}
		return answer.Choices[0].Text, nil
	}
	return "", fmt.Errorf("%s has no ready pod to ask", side.pool)
}
