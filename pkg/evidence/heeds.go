package evidence

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

const (
	// heedLimit is how long a picker may take to follow an object that was just
	// written, heedPoll the time between two looks.
	heedLimit = 3 * time.Second
	heedPoll  = 200 * time.Millisecond
	// noticeLimit is how long a picker may take to notice an adapter that pods have
	// loaded: ours asks them for their models about every third scrape.
	noticeLimit = 30 * time.Second
)

// Heeds refuses endpoint pickers that do not take target models from an object of
// this kind, whose weights would move nothing. Ours say which targets they follow;
// of others it is known which kinds they read: InferenceModel up to inference
// extension v0.5, InferenceModelRewrite since v1.2, and with llm-d that of llm-d.ai
// where the cluster serves it (llmd), else the older group's.
func (a *Arms) Heeds(ctx context.Context, kind schema.GroupResource, llmd bool) error {
	p := a.preset
	switch {
	case p.rules != "":
		return a.followed(ctx, kind)
	case p.at != atPickers:
		return nil // bound to counters that tell the targets apart
	case kind == kube.ModelRewrites().GroupResource() && llmd && slices.Contains(p.heeds, kube.LLMDModelRewrites().GroupResource()):
		return hint.Errorf("move the rules to an object of llm-d.ai", "%s follows %s only, since this cluster serves them, and no %s",
			p.title, kube.LLMDModelRewrites().GroupResource(), kind)
	case !slices.Contains(p.heeds, kind):
		return hint.Errorf(fmt.Sprintf("use what it follows (%v), or the pool's picker of kubectl-infer", p.heeds),
			"%s does not follow %s: their weights move nothing", p.title, kind)
	}
	return nil
}

// followed waits until every picker has a rule that sends to either target.
func (a *Arms) followed(ctx context.Context, kind schema.GroupResource) error {
	if a.become(ctx, heedLimit, func(page *scrape.Page) bool {
		targets := page.Values(a.preset.rules, a.preset.model)
		return slices.Contains(targets, a.stable().pool.Model) || slices.Contains(targets, a.canary().pool.Model)
	}) {
		return nil
	}
	return hint.Errorf("does the object name this pool (spec.poolRef, its group too), and may the picker's ServiceAccount list "+kind.String()+"? its log says what it follows",
		"an endpoint picker of %s has no rule with target %s: the object's weights move nothing", PoolRef{Name: a.stable().pool.Name}, a.stable().pool.Model)
}

// Noticed waits until every endpoint picker knows that pods answer to the canary's
// model: what none has loaded, as far as it knows, ours answers with 503. Pickers
// that do not ask their pods have nothing to notice.
func (a *Arms) Noticed(ctx context.Context, pods int) error {
	if a.preset.serving == "" || a.become(ctx, noticeLimit, func(page *scrape.Page) bool {
		n, _ := page.Sum(a.preset.serving, match{"model": a.canary().pool.Model})
		return !page.Has(a.preset.serving) || int(n) >= pods
	}) {
		return nil
	}
	return hint.Errorf("kubectl logs shows what the picker hears of /v1/models; is the port that of the pool?",
		"an endpoint picker of %s has not noticed within %v that %d pods answer to %s", PoolRef{Name: a.canary().pool.Name}, noticeLimit, pods, a.canary().pool.Model)
}

// become reads the pages until each is as wanted; false when that takes longer
// than limit.
func (a *Arms) become(ctx context.Context, limit time.Duration, wanted func(*scrape.Page) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for pages := slices.Concat(a.stable().pages, a.canary().pages); ; {
		if !slices.ContainsFunc(pages, func(page *scrape.Page) bool { return !wanted(page) }) {
			return true
		}
		timer := time.NewTimer(heedPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
		if again, _, err := a.pages(ctx); err == nil {
			pages = again
		}
	}
}
