package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kubectl-infer/kubectl-infer/picker"
)

const (
	// modelsEvery is the number of scrapes between two looks at the served names,
	// the first one included: an adapter is noticed in about that many intervals.
	modelsEvery = 3
	// maxModels bounds the names one server may list, maxModelsPage the bytes.
	maxModels     = 1000
	maxModelsPage = 1 << 20
)

// askModels stores what the model server answers to. One that does not tell now
// is taken at its last word for choosing, but its word proves nothing any more.
func (s *Scraper) askModels(ctx context.Context, t *target) {
	models, err := fetchModels(ctx, s.Client, t.models, s.Limits.Timeout)
	if err != nil {
		s.Log.Debug("served models unknown", "error", err)
		t.live.Doubt()
		return
	}
	t.live.Serve(models)
}

// fetchModels reads an OpenAI model list. A model with a parent is a LoRA adapter.
// Source: vLLM, entrypoints/openai/protocol.py, ModelCard.
func fetchModels(ctx context.Context, client *http.Client, url string, timeout time.Duration) (picker.Models, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := own.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask %s: %s", url, response.Status)
	}
	var list struct {
		Data []struct {
			ID     string
			Parent *string
		}
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxModelsPage)).Decode(&list); err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	if len(list.Data) == 0 || len(list.Data) > maxModels {
		return nil, fmt.Errorf("read %s: %d models, want 1 to %d", url, len(list.Data), maxModels)
	}
	models := picker.Models{}
	for _, m := range list.Data {
		models[m.ID] = m.Parent != nil && *m.Parent != ""
	}
	return models, nil
}
