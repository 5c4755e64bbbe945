package top

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
)

// looked is what all pools' pods said at one time.
type looked struct {
	at    time.Time
	pools []poolLook
}

type poolLook struct {
	namespace, name string
	says            evidence.Survey
}

// document is what -o json prints.
type document struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Seconds    float64    `json:"seconds"` // between the two looks
	Pods       []podRow   `json:"pods"`
	Models     []modelRow `json:"models"`
	Problems   []string   `json:"problems,omitempty"`
}

// podRow is a model server. KVCache is from 0 to 1; absent when it does not say.
type podRow struct {
	Pool     string   `json:"pool"` // NAMESPACE/NAME
	Pod      string   `json:"pod"`
	Ready    bool     `json:"ready"`
	Running  float64  `json:"running"`
	Waiting  float64  `json:"waiting"`
	KVCache  *float64 `json:"kvCache,omitempty"`
	Restarts int      `json:"restarts"`
	Problem  string   `json:"problem,omitempty"`
}

func (p podRow) cells() []string {
	if p.Problem != "" {
		return []string{"?", "?", "?", fmt.Sprint(p.Restarts)}
	}
	kv := "?"
	if p.KVCache != nil {
		kv = fmt.Sprintf("%.0f%%", 100**p.KVCache)
	}
	return []string{fmt.Sprintf("%.0f", p.Running), fmt.Sprintf("%.0f", p.Waiting), kv, fmt.Sprint(p.Restarts)}
}

// modelRow is a target model of a pool: what its pickers counted between the
// looks, and the requests running now.
type modelRow struct {
	Pool    string  `json:"pool"`
	Model   string  `json:"model"`
	Running float64 `json:"running"`
	Rate    float64 `json:"requestsPerSecond"`
	Ended   float64 `json:"ended"`
	Failed  float64 `json:"failed"`
}

// load makes rows of two looks. A picker that was not there before, or whose
// counters fell because it began anew, adds to no rate.
func load(before, now looked) document {
	d := document{
		APIVersion: "kubectl-infer.github.io/v1alpha1", Kind: "Load", Seconds: now.at.Sub(before.at).Seconds(),
		Pods: []podRow{}, Models: []modelRow{},
	}
	counted := map[string]evidence.ModelLoad{} // by pool, pod and model
	for _, p := range before.pools {
		for _, picker := range p.says.Pickers {
			for _, m := range picker.Models {
				counted[p.namespace+"/"+p.name+"/"+picker.Pod+"/"+m.Model] = m
			}
		}
	}
	for _, p := range now.pools {
		name := p.namespace + "/" + p.name
		for _, s := range p.says.Servers {
			d.addPod(name, s)
		}
		rows := map[string]modelRow{}
		for _, picker := range p.says.Pickers {
			if picker.Problem != nil {
				d.Problems = append(d.Problems, fmt.Sprintf("picker %s of pool %s cannot be read: %v", picker.Pod, name, picker.Problem))
			}
			for _, m := range picker.Models {
				row := rows[m.Model]
				row.Pool, row.Model, row.Running = name, m.Model, row.Running+m.Active
				if old, ok := counted[name+"/"+picker.Pod+"/"+m.Model]; ok && old.Started <= m.Started && old.Ended <= m.Ended && old.Failed <= m.Failed {
					row.Rate += (m.Started - old.Started) / max(d.Seconds, 1e-3)
					row.Ended += m.Ended - old.Ended
					row.Failed += m.Failed - old.Failed
				}
				rows[m.Model] = row
			}
		}
		for _, model := range slices.Sorted(maps.Keys(rows)) {
			d.Models = append(d.Models, rows[model])
		}
	}
	return d
}

func (d *document) addPod(pool string, s evidence.ServerSays) {
	row := podRow{Pool: pool, Pod: s.Pod, Ready: s.Ready, Running: s.Running, Waiting: s.Waiting, Restarts: s.Restarts}
	if s.KVUse >= 0 {
		row.KVCache = &s.KVUse
	}
	if s.Problem != nil {
		row.Problem = s.Problem.Error()
		d.Problems = append(d.Problems, fmt.Sprintf("pod %s of pool %s cannot be read: %v", s.Pod, pool, s.Problem))
	}
	d.Pods = append(d.Pods, row)
}
