package podrunner

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

const (
	podWorkers = 4
	// endGrace is what a Pod gets when the whole sandbox ends: a server's drain
	// is for clients, and the gateway is going at the same time.
	endGrace = 500 * time.Millisecond
)

// Options says where Pods run.
type Options struct {
	Config     *rest.Config     // of an administrator; its CAData is given to Pods
	N          byte             // Pods get 127.N.2.1 and up
	Starter    *process.Starter // makes the processes
	Executable string           // the multi-call binary that is picker, body router and simulator
	Dir        string           // a folder per Pod with its kubeconfig and token
	LogDir     string           // <namespace>_<pod>_<container>.log
	Images     Images           // the user's own rows of the table
	KubeletTLS *tls.Config      // lets the API server in for logs, exec and port-forward; nil: no such service
	Log        *slog.Logger
}

// Runner runs the Pods of one API server.
type Runner struct {
	Options
	config      *rest.Config
	client      kubernetes.Interface
	log         *slog.Logger
	probes      *http.Client
	addresses   *addresses
	pods        corelisters.PodLister
	deployments appslisters.DeploymentLister
	jobs        batchlisters.JobLister
	podQueue    queue
	deployQueue queue
	jobQueue    queue

	mu        sync.Mutex
	instances map[types.NamespacedName]*instance
	told      map[told]bool
}

type queue = workqueue.TypedRateLimitingInterface[types.NamespacedName]

// New prepares a Runner; Run does the work.
func New(o Options) (*Runner, error) {
	client, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("make client for the pod runner: %w", err)
	}
	return &Runner{
		Options: o, config: o.Config, client: client, log: o.Log,
		probes: probeClient(), addresses: newAddresses(o.N),
		podQueue: newQueue(), deployQueue: newQueue(), jobQueue: newQueue(),
		instances: map[types.NamespacedName]*instance{}, told: map[told]bool{},
	}, nil
}

func newQueue() queue {
	return workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](20*time.Millisecond, 5*time.Second))
}

func (r *Runner) hostIP() string { return fmt.Sprintf("127.%d.0.2", r.N) }

// Run makes the Node, then runs Pods until ctx ends; every process is gone when
// it returns. It is nil after a cancelled ctx, and an error when the Node or
// the first lists were refused.
func (r *Runner) Run(ctx context.Context) error {
	defer r.shutDown()
	if err := r.ensureNode(ctx); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(r.client, 0)
	if err := r.watch(factory); err != nil {
		return err
	}
	informing, stopInforming := context.WithCancel(ctx)
	factory.StartWithContext(informing)
	defer factory.Shutdown()
	defer stopInforming()
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok && ctx.Err() == nil {
			return fmt.Errorf("list %s: the API server did not answer", kind)
		}
	}
	ctx, stopWork := context.WithCancel(ctx)
	defer stopWork()
	var workers sync.WaitGroup
	for range podWorkers {
		workers.Go(func() { r.work(ctx, r.podQueue, r.reconcilePod) })
	}
	workers.Go(func() { r.work(ctx, r.deployQueue, r.reconcileDeployment) })
	workers.Go(func() { r.work(ctx, r.jobQueue, r.reconcileJob) })
	var kubelet error
	if r.KubeletTLS != nil {
		kubelet = r.serveKubelet(ctx)
	}
	if kubelet == nil {
		<-ctx.Done()
	}
	stopWork()
	r.shutDown()
	workers.Wait()
	r.stopAll()
	return kubelet
}

func (r *Runner) shutDown() {
	for _, q := range []queue{r.podQueue, r.deployQueue, r.jobQueue} {
		q.ShutDown()
	}
}

// watch wires events to queues: a Pod's also to its Deployment's or Job's, a
// Deployment's also to its Pods' (its faults are theirs, its end is theirs).
func (r *Runner) watch(factory informers.SharedInformerFactory) error {
	pods, deployments, jobs := factory.Core().V1().Pods(), factory.Apps().V1().Deployments(), factory.Batch().V1().Jobs()
	r.pods, r.deployments, r.jobs = pods.Lister(), deployments.Lister(), jobs.Lister()
	_, err := pods.Informer().AddEventHandler(each(func(o metav1.Object) {
		r.podQueue.Add(nameOf(o))
		if owner := metav1.GetControllerOf(o); owner != nil {
			key := types.NamespacedName{Namespace: o.GetNamespace(), Name: owner.Name}
			switch owner.Kind {
			case "Deployment":
				r.deployQueue.Add(key)
			case "Job":
				r.jobQueue.Add(key)
			}
		}
	}))
	owners := func(q queue) cache.ResourceEventHandlerFuncs {
		return each(func(o metav1.Object) {
			q.Add(nameOf(o))
			for _, pod := range r.podsOf(o) {
				r.podQueue.Add(nameOf(pod))
			}
		})
	}
	_, err2 := deployments.Informer().AddEventHandler(owners(r.deployQueue))
	_, err3 := jobs.Informer().AddEventHandler(owners(r.jobQueue))
	return errors.Join(err, err2, err3)
}

func each(f func(metav1.Object)) cache.ResourceEventHandlerFuncs {
	handle := func(o any) {
		if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if object, ok := o.(metav1.Object); ok {
			f(object)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, o any) { handle(o) }, DeleteFunc: handle}
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (r *Runner) work(ctx context.Context, q queue, reconcile func(context.Context, types.NamespacedName) error) {
	for {
		key, shutdown := q.Get()
		if shutdown {
			return
		}
		switch err := reconcile(ctx, key); {
		case err == nil:
			q.Forget(key)
		case ctx.Err() == nil:
			r.log.Debug("again", "object", key.String(), "error", err)
			q.AddRateLimited(key)
		}
		q.Done(key)
	}
}

// stopAll ends every process, all at once.
func (r *Runner) stopAll() {
	r.mu.Lock()
	all := r.instances
	r.instances = map[types.NamespacedName]*instance{}
	r.mu.Unlock()
	for _, i := range all {
		i.stop(endGrace)
	}
	for _, i := range all {
		i.wait()
	}
}
