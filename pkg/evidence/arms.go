package evidence

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Arms looks at stable and canary. It is used from one goroutine.
type Arms struct {
	clients *kube.Clients
	reach   *reacher
	preset  preset
	gauges  []gauge
	stable  arm
	canary  arm
}

// arm is what is remembered of one pool between looks.
type arm struct {
	pool     Pool
	delta    scrape.Delta
	began    bool
	pods     []corev1.Pod          // as last listed
	pickers  []corev1.Pod          // as last listed
	restarts map[string]restartLog // by pod UID
	seen     map[string]string     // by picker pod UID: the process last scraped, "" before the first scrape
}

type restartLog struct{ base, now int }

// New prepares to look at two pools, via the given way. Bind must be called
// before Look, and Close at the end.
func New(clients *kube.Clients, stable, canary Pool, via Via) *Arms {
	return &Arms{
		clients: clients, reach: newReacher(clients, via),
		stable: arm{pool: stable, restarts: map[string]restartLog{}, seen: map[string]string{}},
		canary: arm{pool: canary, restarts: map[string]restartLog{}, seen: map[string]string{}},
	}
}

// Close drops connections and tunnels.
func (a *Arms) Close() { a.reach.close() }

// Bind finds the series that gates are read from, and their buckets (Edges). It
// scrapes every picker once, which also proves that the metrics can be reached
// from here, and settles by which way.
func (a *Arms) Bind(ctx context.Context, exprs []gate.Expr) error {
	for _, side := range []*arm{&a.stable, &a.canary} {
		if err := side.list(ctx, a.clients); err != nil {
			return err
		}
		if len(side.targets()) == 0 {
			return hint.Errorf(fmt.Sprintf("kubectl get pods -n %s -l %s", side.pool.Namespace, side.pool.Pickers),
				"%s has no ready endpoint picker", side.pool)
		}
	}
	pages, err := a.settle(ctx)
	if err != nil {
		return err
	}
	if a.preset, err = detect(pages); err != nil {
		return err
	}
	a.gauges = nil
	for _, expr := range exprs {
		var edges []float64
		if expr.Metric != gate.Errors {
			if edges, err = a.preset.edgesOf(pages, expr.Metric); err != nil {
				return err
			}
		}
		a.gauges = append(a.gauges, gauge{from: a.preset.histograms[expr.Metric], edges: edges})
	}
	return nil
}

// Picker names the endpoint picker whose metrics were found.
func (a *Arms) Picker() string { return a.preset.name }

// Edges are the bucket edges each gate is read with, ascending; nil for errors.
func (a *Arms) Edges() [][]float64 {
	edges := make([][]float64, len(a.gauges))
	for i, g := range a.gauges {
		edges[i] = g.edges
	}
	return edges
}

// Ready counts the ready endpoints of both arms as last listed.
func (a *Arms) Ready() (stable, canary int) { return a.stable.ready(), a.canary.ready() }

// Look implements rollout.Evidence.
func (a *Arms) Look(ctx context.Context) rollout.Sample {
	began := time.Now()
	sample := rollout.Sample{Stable: a.look(ctx, &a.stable), Canary: a.look(ctx, &a.canary)}
	sample.Took = time.Since(began)
	return sample
}

func (a *Arms) look(ctx context.Context, side *arm) rollout.Arm {
	listErr := side.list(ctx, a.clients)
	out := rollout.Arm{Ready: side.ready(), Restarts: side.restarted()}
	sum := increments{buckets: make([][]uint64, len(a.gauges))}
	seen := 0
	var errs []error
	for _, r := range a.fetch(ctx, side.targets()) {
		if r.err != nil {
			errs = append(errs, r.err)
			continue
		}
		seen++
		running, _ := r.page.Sum(a.preset.running, nil)
		out.Running += int64(running)
		values := a.preset.reading(r.page, a.gauges)
		born, _ := r.page.Sum(bornFamily, nil)
		source := r.source + "@" + strconv.FormatFloat(born, 'f', -1, 64)
		if side.younger(r.source, source) {
			side.delta.Born(source, len(values))
		}
		if grown, known := side.delta.Observe(source, values); known {
			sum.add(split(grown, a.gauges))
		}
	}
	if seen == 0 {
		out.Blind = blindness(side, errs, listErr)
		return out
	}
	side.began = true
	out.Started, out.Finished, out.Progress = sum.started, sum.finished, sum.progress
	for i, g := range a.gauges {
		if sum.buckets[i] == nil {
			sum.buckets[i] = make([]uint64, max(2, len(g.edges)+1))
		}
		out.Values = append(out.Values, sum.buckets[i])
	}
	return out
}

func blindness(side *arm, errs []error, listErr error) string {
	switch {
	case len(errs) > 0:
		return errs[0].Error()
	case listErr != nil:
		return listErr.Error()
	default:
		return side.pool.String() + " has no ready endpoint picker"
	}
}

// younger says whether a process began to count after the first look: its pod
// was not there then, or another process of that pod was scraped before. What
// a picker counted before anyone looked belongs to no window, however late it
// is first reached.
func (s *arm) younger(pod, process string) bool {
	last, known := s.seen[pod]
	s.seen[pod] = process
	if !known {
		return s.began
	}
	return last != "" && last != process
}

func (w *increments) add(other increments) {
	w.started += other.started
	w.finished += other.finished
	w.errors += other.errors
	w.progress += other.progress
	for i, row := range other.buckets {
		if w.buckets[i] == nil {
			w.buckets[i] = make([]uint64, len(row))
		}
		for k, n := range row {
			w.buckets[i][k] += n
		}
	}
}

// list refreshes the arm's pods. When the cluster cannot be asked, what was
// last listed is kept.
func (s *arm) list(ctx context.Context, c *kube.Clients) error {
	pods, err := list(ctx, c, s.pool.Namespace, s.pool.Servers)
	if err != nil {
		return err
	}
	pickers, err := list(ctx, c, s.pool.Namespace, s.pool.Pickers)
	if err != nil {
		return err
	}
	s.pods, s.pickers = pods, pickers
	for i := range pods {
		uid, n := string(pods[i].UID), restarts(&pods[i])
		log, known := s.restarts[uid]
		if !known && !s.began {
			log.base = n
		}
		log.now = n
		s.restarts[uid] = log
	}
	for i := range pickers {
		if _, known := s.seen[string(pickers[i].UID)]; !known && !s.began {
			s.seen[string(pickers[i].UID)] = ""
		}
	}
	return nil
}

func list(ctx context.Context, c *kube.Clients, namespace string, selector labels.Selector) ([]corev1.Pod, error) {
	pods, err := c.Core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("list pods %s in namespace %s: %w", selector, namespace, err)
	}
	return pods.Items, nil
}

func (s *arm) ready() int {
	n := 0
	for i := range s.pods {
		if ready(&s.pods[i]) {
			n++
		}
	}
	return n
}

func (s *arm) restarted() int {
	n := 0
	for _, log := range s.restarts {
		n += log.now - log.base
	}
	return n
}

// targets are the ready pickers.
func (s *arm) targets() []*corev1.Pod {
	var out []*corev1.Pod
	for i := range s.pickers {
		if ready(&s.pickers[i]) {
			out = append(out, &s.pickers[i])
		}
	}
	return out
}

type fetched struct {
	source string // the pod's UID
	page   *scrape.Page
	err    error
}

// fetch scrapes all pods at once; there are as many as an arm has pickers.
func (a *Arms) fetch(ctx context.Context, pods []*corev1.Pod) []fetched {
	results := make([]fetched, len(pods))
	var wg sync.WaitGroup
	for i, pod := range pods {
		wg.Go(func() {
			page, err := a.reach.fetch(ctx, pod)
			results[i] = fetched{source: string(pod.UID), page: page, err: err}
		})
	}
	wg.Wait()
	return results
}
