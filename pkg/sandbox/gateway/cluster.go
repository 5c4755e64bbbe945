package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	infclient "sigs.k8s.io/gateway-api-inference-extension/client-go/clientset/versioned"
	infinformers "sigs.k8s.io/gateway-api-inference-extension/client-go/informers/externalversions"
	inflisters "sigs.k8s.io/gateway-api-inference-extension/client-go/listers/api/v1"
	gwclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"
	gwinformers "sigs.k8s.io/gateway-api/pkg/client/informers/externalversions"
	gwlisters "sigs.k8s.io/gateway-api/pkg/client/listers/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

// listLimit is how long the first list of all objects may take.
const listLimit = 30 * time.Second

// cluster is the API server: what it says now, and where statuses go.
type cluster struct {
	http     *http.Client
	core     kubernetes.Interface
	gw       gwclient.Interface
	inf      infclient.Interface
	dynamic  dynamic.Interface
	metadata metadata.Interface
	stop     context.CancelFunc
	waits    []func() // for informers to end
	now      func() time.Time

	classes    gwlisters.GatewayClassLister
	gateways   gwlisters.GatewayLister
	routes     gwlisters.HTTPRouteLister
	grants     gwlisters.ReferenceGrantLister
	pools      inflisters.InferencePoolLister
	services   corelisters.ServiceLister
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	untyped    *untypedWatch
}

// watchCluster lists and watches every kind that routing depends on, and calls
// notify at each change.
func watchCluster(ctx context.Context, config *rest.Config, notify func()) (*cluster, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // status writes follow changes; nothing here polls
	config.UserAgent = "kubectl-infer-sandbox/gateway"
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	core, err := kubernetes.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	gw, err := gwclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("make Gateway API client: %w", err)
	}
	inf, err := infclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("make InferencePool client: %w", err)
	}
	untyped, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("make dynamic client: %w", err)
	}
	names, err := metadata.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("make metadata client: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	c := &cluster{http: client, core: core, gw: gw, inf: inf, dynamic: untyped, metadata: names, stop: stop, now: time.Now}
	if err := c.watch(ctx, notify); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cluster) watch(ctx context.Context, notify func()) error {
	coreFactory := informers.NewSharedInformerFactoryWithOptions(c.core, 0, informers.WithTransform(slim))
	gwFactory := gwinformers.NewSharedInformerFactory(c.gw, 0)
	infFactory := infinformers.NewSharedInformerFactory(c.inf, 0)
	v1, gwv1 := coreFactory.Core().V1(), gwFactory.Gateway().V1()
	pools := infFactory.Inference().V1().InferencePools()
	c.classes, c.gateways = gwv1.GatewayClasses().Lister(), gwv1.Gateways().Lister()
	c.routes, c.grants = gwv1.HTTPRoutes().Lister(), gwv1.ReferenceGrants().Lister()
	c.services, c.pods, c.namespaces = v1.Services().Lister(), v1.Pods().Lister(), v1.Namespaces().Lister()
	c.pools = pools.Lister()
	all := map[string]cache.SharedIndexInformer{
		"services": v1.Services().Informer(), "pods": v1.Pods().Informer(), "namespaces": v1.Namespaces().Informer(),
		"gatewayclasses.gateway.networking.k8s.io":        gwv1.GatewayClasses().Informer(),
		"gateways.gateway.networking.k8s.io":              gwv1.Gateways().Informer(),
		"httproutes.gateway.networking.k8s.io":            gwv1.HTTPRoutes().Informer(),
		"referencegrants.gateway.networking.k8s.io":       gwv1.ReferenceGrants().Informer(),
		"inferencepools.inference.networking.k8s.io (v1)": pools.Informer(),
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
		DeleteFunc: func(any) { notify() },
	}
	for kind, informer := range all {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("watch %s: %w", kind, err)
		}
	}
	coreFactory.Start(ctx.Done())
	gwFactory.Start(ctx.Done())
	infFactory.Start(ctx.Done())
	c.waits = []func(){coreFactory.Shutdown, gwFactory.Shutdown, infFactory.Shutdown}
	if err := c.watchUntyped(ctx, handler, all); err != nil {
		return err
	}
	return waitSynced(ctx, all)
}

func waitSynced(ctx context.Context, all map[string]cache.SharedIndexInformer) error {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	var missing []string
	for kind, informer := range all {
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			missing = append(missing, kind)
		}
	}
	if len(missing) > 0 {
		return hint.Errorf("install the CRDs and check that this user may list and watch them",
			"list %s: no answer within %s", strings.Join(missing, ", "), listLimit)
	}
	return nil
}

// slim drops what is large and never read.
func slim(o any) (any, error) {
	if accessor, err := meta.Accessor(o); err == nil {
		accessor.SetManagedFields(nil)
	}
	if pod, ok := o.(*corev1.Pod); ok {
		pod.Spec.Volumes = nil
	}
	return o, nil
}

func (c *cluster) close() {
	c.stop()
	for _, wait := range c.waits {
		wait()
	}
	utilnet.CloseIdleConnectionsFor(c.http.Transport)
}

// objects is everything that Translate looks at, as last seen.
func (c *cluster) objects() (translate.Objects, error) {
	o, all := translate.Objects{}, labels.Everything()
	var err error
	list := func(kind string, read func() error) {
		if err == nil {
			if e := read(); e != nil {
				err = fmt.Errorf("list %s: %w", kind, e)
			}
		}
	}
	list("gatewayclasses", func() (e error) { o.Classes, e = c.classes.List(all); return })
	list("gateways", func() (e error) { o.Gateways, e = c.gateways.List(all); return })
	list("httproutes", func() (e error) { o.Routes, e = c.routes.List(all); return })
	list("referencegrants", func() (e error) { o.Grants, e = c.grants.List(all); return })
	list("inferencepools", func() (e error) { o.Pools, e = c.pools.List(all); return })
	list("services", func() (e error) { o.Services, e = c.services.List(all); return })
	list("pods", func() (e error) { o.Pods, e = c.pods.List(all); return })
	list("namespaces", func() (e error) { o.Namespaces, e = c.namespaces.List(all); return })
	if err != nil {
		return o, err
	}
	return o, c.untypedObjects(&o)
}
