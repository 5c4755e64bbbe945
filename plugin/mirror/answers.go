package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	engine "github.com/kubectl-infer/kubectl-infer/pkg/mirror"
)

// maxPrompts bounds --compare-answers: the prompts cost both sides tokens.
const maxPrompts = 1000

// prompt is the nth of ours: no user's words are sent again.
func prompt(n int) string {
	return fmt.Sprintf("Say in one sentence what is special about the number %d.", n+2)
}

// compareAnswers asks both sides the same, and keeps the answers only where it
// was told to. nil when nothing is to be asked.
func (o *startOptions) compareAnswers(ctx context.Context, both *evidence.Arms) (*engine.Answers, error) {
	if o.compare == 0 || o.dryRun != "none" {
		return nil, nil
	}
	keep := io.Discard
	if o.keepAnswers != "" {
		file, err := os.OpenFile(o.keepAnswers, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("keep answers: %w", err), "--keep-answers a file that is not there yet")
		}
		defer file.Close()
		keep = file
	}
	encoder := json.NewEncoder(keep)
	var sum engine.Answers
	for n := range o.compare {
		primary, shadow, err := both.Answer(ctx, prompt(n))
		if err != nil {
			return nil, err
		}
		sum = sum.Add(primary, shadow)
		if err := encoder.Encode(map[string]string{"prompt": prompt(n), "primary": primary, "shadow": shadow}); err != nil {
			return nil, fmt.Errorf("keep answers: %w", err)
		}
	}
	return &sum, nil
}
