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
// the adapter, "" for the base. No name at all means the base, as in vLLM.
func (m *models) resolve(name string) (served, adapter string, ok bool) {
	if name == "" {
		return m.cfg.ServedNames[0], "", true
	}
	if slices.Contains(m.cfg.ServedNames, name) {
		return name, "", true
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
}

// list answers GET /v1/models.
func (m *models) list(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	loaded := slices.Clone(m.adapters)
	m.mu.Unlock()
	cards := make([]modelCard, 0, len(m.cfg.ServedNames)+len(loaded))
	card := modelCard{Object: "model", Created: m.created, OwnedBy: "vllm"}
	for _, name := range m.cfg.ServedNames {
		card.ID, card.Root, card.MaxModelLen = name, m.cfg.Model, &m.cfg.MaxModelLen
		cards = append(cards, card)
	}
	for _, a := range loaded {
		base := cmp.Or(a.Base, m.cfg.ServedNames[0])
		card.ID, card.Root, card.Parent, card.MaxModelLen = a.Name, a.Path, &base, nil
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
			fmt.Sprintf("The lora adapter '%s' has already been loaded.", req.Name))
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
		writeError(w, http.StatusBadRequest, typeInvalidInput, "'lora_name' needs to be provided.")
	case i < 0:
		writeError(w, http.StatusNotFound, typeNotFound, fmt.Sprintf("The lora adapter '%s' cannot be found.", req.Name))
	default:
		m.adapters = slices.Delete(m.adapters, i, i+1)
		writeText(w, fmt.Sprintf("Success: LoRA adapter '%s' removed successfully.", req.Name))
	}
}
