package modelsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// models is the list of names this server answers.
type models struct {
	cfg     Config
	created int64

	mu       sync.Mutex
	adapters []Adapter
}

func newModels(cfg Config) *models {
	return &models{cfg: cfg, created: time.Now().Unix(), adapters: slices.Clone(cfg.Adapters)}
}

// resolve finds what serves a requested name: the name the answer carries and
// the adapter, "" for the base. As in vLLM, no name at all means the base, and
// the base answers in its first served name whichever was asked.
func (m *models) resolve(name string) (served, adapter string, ok bool) {
	if name == "" || slices.Contains(m.cfg.ServedNames, name) {
		return m.cfg.ServedNames[0], "", true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.index(name) < 0 {
		return "", "", false
	}
	return name, name, true
}

func (m *models) index(name string) int {
	return slices.IndexFunc(m.adapters, func(a Adapter) bool { return a.Name == name })
}

type modelCard struct {
	ID          string  `json:"id"`
	Object      string  `json:"object"`
	Created     int64   `json:"created"`
	OwnedBy     string  `json:"owned_by"`
	Root        string  `json:"root"`
	Parent      *string `json:"parent"`
	MaxModelLen *int    `json:"max_model_len"`

	Permission []permission `json:"permission"`
}

// permission is a part of a model card that old clients read.
type permission struct {
	ID                 string  `json:"id"`
	Object             string  `json:"object"`
	Created            int64   `json:"created"`
	AllowCreateEngine  bool    `json:"allow_create_engine"`
	AllowSampling      bool    `json:"allow_sampling"`
	AllowLogprobs      bool    `json:"allow_logprobs"`
	AllowSearchIndices bool    `json:"allow_search_indices"`
	AllowView          bool    `json:"allow_view"`
	AllowFineTuning    bool    `json:"allow_fine_tuning"`
	Organization       string  `json:"organization"`
	Group              *string `json:"group"`
	IsBlocking         bool    `json:"is_blocking"`
}

func (m *models) permit(name string) []permission {
	return []permission{{
		ID: fmt.Sprintf("modelperm-%016x", hash64(name, uint64(m.created))), Object: "model_permission", Created: m.created,
		AllowSampling: true, AllowLogprobs: true, AllowView: true, Organization: "*",
	}}
}

// list answers GET /v1/models.
func (m *models) list(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	loaded := slices.Clone(m.adapters)
	m.mu.Unlock()
	cards := make([]modelCard, 0, len(m.cfg.ServedNames)+len(loaded))
	card := modelCard{Object: "model", Created: m.created, OwnedBy: "vllm"}
	for _, name := range m.cfg.ServedNames {
		card.ID, card.Root, card.MaxModelLen, card.Permission = name, m.cfg.Model, &m.cfg.MaxModelLen, m.permit(name)
		cards = append(cards, card)
	}
	for _, a := range loaded {
		base := cmp.Or(a.Base, m.cfg.ServedNames[0])
		card.ID, card.Root, card.Parent, card.MaxModelLen, card.Permission = a.Name, a.Path, &base, nil, m.permit(a.Name)
		cards = append(cards, card)
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": cards})
}

type loraRequest struct {
	Name string `json:"lora_name"`
	Path string `json:"lora_path"`
	Base string `json:"base_model_name"`
}

// load answers POST /v1/load_lora_adapter.
func (m *models) load(w http.ResponseWriter, r *http.Request) {
	var req loraRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, typeBadRequest, "the body is not the JSON of a LoRA request: "+err.Error())
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case req.Name == "" || req.Path == "":
		writeError(w, http.StatusBadRequest, typeInvalidInput, "Both 'lora_name' and 'lora_path' must be provided.")
	case !m.cfg.EnableLoRA:
		writeError(w, http.StatusBadRequest, typeBadRequest, "LoRA is not enabled; start the server with --enable-lora.")
	case m.index(req.Name) >= 0 || slices.Contains(m.cfg.ServedNames, req.Name):
		writeError(w, http.StatusBadRequest, typeInvalidInput,
			fmt.Sprintf("The lora adapter '%s' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.", req.Name))
	case len(m.adapters) >= m.cfg.MaxAdapters:
		writeError(w, http.StatusBadRequest, typeInvalidInput,
			fmt.Sprintf("%d adapters are loaded, the limit of --max-lora-modules.", len(m.adapters)))
	default:
		m.adapters = append(m.adapters, Adapter(req))
		writeText(w, fmt.Sprintf("Success: LoRA adapter '%s' added successfully.", req.Name))
	}
}

// unload answers POST /v1/unload_lora_adapter. Requests in progress finish.
func (m *models) unload(w http.ResponseWriter, r *http.Request) {
	var req loraRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, typeBadRequest, "the body is not the JSON of a LoRA request: "+err.Error())
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.index(req.Name)
	switch {
	case req.Name == "":
		writeError(w, http.StatusBadRequest, typeInvalidInput, "'lora_name' needs to be provided to unload a LoRA adapter.")
	case i < 0:
		writeError(w, http.StatusNotFound, typeNotFound, fmt.Sprintf("The lora adapter '%s' cannot be found.", req.Name))
	default:
		m.adapters = slices.Delete(m.adapters, i, i+1)
		writeText(w, fmt.Sprintf("Success: LoRA adapter '%s' removed successfully.", req.Name))
	}
}
