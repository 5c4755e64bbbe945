package picker

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// targetStates says of each target model of the rules in force, the first
// MaxModels of them, whether it is loaded nowhere.
func (h *Handler) targetStates() map[string]bool {
	targets := h.rules().Targets()
	states := map[string]bool{}
	for _, target := range targets[:min(len(targets), h.Metrics.maxModels)] {
		states[target] = h.Picker.Unloaded(target)
	}
	return states
}

// FollowTargets logs, until ctx ends, when a target model becomes loaded nowhere
// and when that is over: one line each.
func (h *Handler) FollowTargets(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for states := map[string]bool{}; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			states = h.logTargets(states)
		}
	}
}

// logTargets logs what changed since former and returns the present states.
func (h *Handler) logTargets(former map[string]bool) map[string]bool {
	states := h.targetStates()
	for target, unloaded := range states {
		switch {
		case unloaded && !former[target]:
			h.Log.Warn("target model is loaded on no ready endpoint: its share of the requests is answered with 503", "target", target)
		case !unloaded && former[target]:
			h.Log.Info("target model is loaded again", "target", target)
		}
	}
	return states
}

// CountUnloaded exports which target models are loaded nowhere.
func (m *Metrics) CountUnloaded(registry prometheus.Registerer, namespace, pool string, h *Handler) {
	registry.MustRegister(&unloadedTargets{handler: h, desc: prometheus.NewDesc("infer_picker_target_unloaded",
		"1 when no ready endpoint has the target model of a rule loaded: its share of the requests is answered with 503; 0 also when that is not known.",
		[]string{"target_model"}, prometheus.Labels{"namespace": namespace, "pool": pool})})
}

type unloadedTargets struct {
	handler *Handler
	desc    *prometheus.Desc
}

func (u *unloadedTargets) Describe(ch chan<- *prometheus.Desc) { ch <- u.desc }

func (u *unloadedTargets) Collect(ch chan<- prometheus.Metric) {
	for target, unloaded := range u.handler.targetStates() {
		value := 0.0
		if unloaded {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(u.desc, prometheus.GaugeValue, value, target)
	}
}

// CountServed exports by how many endpoints that may be picked each model is
// served, as they said last; the first MaxModels names that any of them told.
func (m *Metrics) CountServed(registry prometheus.Registerer, namespace, pool string, p *Picker) {
	registry.MustRegister(&servedModels{picker: p, most: m.maxModels, desc: prometheus.NewDesc("infer_picker_model_endpoints",
		"Endpoints that may be picked and answer to the model, as they said last.",
		[]string{"model"}, prometheus.Labels{"namespace": namespace, "pool": pool})})
}

type servedModels struct {
	picker *Picker
	most   int
	desc   *prometheus.Desc
}

func (s *servedModels) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

func (s *servedModels) Collect(ch chan<- prometheus.Metric) {
	counts := s.picker.Snapshot().Serving()
	names := slices.Sorted(maps.Keys(counts))
	for _, name := range names[:min(len(names), s.most)] {
		if bounded(name) == name {
			ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(counts[name]), name)
		}
	}
}
