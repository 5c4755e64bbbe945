package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
	children "github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// cluster is a real API server with Pods that nobody runs: at their addresses
// stand the recorded pages of a model server.
type cluster struct {
	kubeconfig string
	pages      pages

	n       int // its addresses are 127.n.0.0/16
	lock    net.Listener
	starter *children.Starter
	plane   *controlplane.ControlPlane
	core    kubernetes.Interface
	objects dynamic.Interface
	pods    int
}

const podPort = 8000

// startCluster keeps its files in folder; long chooses the pages. Stop it at the end,
// whatever startCluster returned.
func startCluster(ctx context.Context, folder string, long bool) (*cluster, error) {
	c := &cluster{kubeconfig: filepath.Join(folder, "cluster"), starter: children.NewStarter()}
	var err error
	if c.pages, err = record(long); err != nil {
		return c, err
	}
	if err := c.claim(); err != nil {
		return c, err
	}
	etcd, api, definitions, err := parts(ctx)
	if err != nil {
		return c, err
	}
	c.plane, err = controlplane.Start(ctx, controlplane.Options{
		Starter: c.starter, Etcd: etcd, KubeAPIServer: api,
		Dir: filepath.Join(folder, "state"), LogDir: folder, Address: fmt.Sprintf("127.%d.0.1", c.n),
	})
	if err != nil {
		return c, err
	}
	if err := c.plane.WriteKubeconfig(c.kubeconfig, "bench"); err != nil {
		return c, err
	}
	if err := controlplane.InstallCRDs(ctx, c.plane.AdminConfig(), definitions...); err != nil {
		return c, err
	}
	config := rest.CopyConfig(c.plane.AdminConfig())
	config.QPS = -1 // hundreds of Pods, and nobody else to spare
	if c.core, err = kubernetes.NewForConfig(config); err != nil {
		return c, err
	}
	c.objects, err = dynamic.NewForConfig(config)
	return c, err
}

func (c *cluster) stop() {
	if c.plane != nil {
		c.plane.Stop()
	}
	c.starter.Close()
	if c.lock != nil {
		_ = c.lock.Close()
	}
}

// claim locks a 127.N.0.0/16 as sandboxes do, outside of theirs.
func (c *cluster) claim() error {
	var err error
	for c.n = 180; c.n < 250; c.n++ {
		if c.lock, err = net.Listen("tcp", fmt.Sprintf("127.%d.255.254:9999", c.n)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("claim a network: 127.180.0.0/16 to 127.249.0.0/16 are all in use: %w", err)
}

// parts finds the control plane's programs, and the definitions that both pickers
// follow.
func parts(ctx context.Context) (etcd, api string, definitions [][]byte, err error) {
	store, err := assets.NewStore()
	if err != nil {
		return "", "", nil, err
	}
	paths := map[string]string{}
	for _, name := range []string{assets.Etcd, assets.KubeAPIServer, assets.InferencePoolCRDs, assets.ModelRewriteCRDs} {
		asset, err := store.Find(ctx, name)
		if err != nil {
			return "", "", nil, err
		}
		paths[name] = asset.Path
	}
	for _, name := range []string{assets.InferencePoolCRDs, assets.ModelRewriteCRDs} {
		text, err := os.ReadFile(paths[name])
		if err != nil {
			return "", "", nil, err
		}
		definitions = append(definitions, text)
	}
	return paths[assets.Etcd], paths[assets.KubeAPIServer], definitions, nil
}

// addPool makes an InferencePool, its ready Pods, and serves their pages until ctx
// ends.
func (c *cluster) addPool(ctx context.Context, name string, pods int) error {
	pool := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool",
		"metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"selector":          map[string]any{"matchLabels": map[string]any{"app": name}},
			"targetPorts":       []any{map[string]any{"number": int64(podPort)}},
			"endpointPickerRef": map[string]any{"name": name, "port": map[string]any{"number": int64(9002)}},
		},
	}}
	pools := schema.GroupVersionResource{Group: "inference.networking.k8s.io", Version: "v1", Resource: "inferencepools"}
	if _, err := c.objects.Resource(pools).Namespace("default").Create(ctx, pool, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create pool %s: %w", name, err)
	}
	ips, addresses := make([]string, pods), make([]string, pods)
	for i := range pods {
		ips[i] = fmt.Sprintf("127.%d.%d.%d", c.n, 1+c.pods/250, 1+c.pods%250)
		addresses[i] = fmt.Sprintf("%s:%d", ips[i], podPort)
		c.pods++
	}
	if _, err := c.pages.serve(ctx, addresses); err != nil {
		return err
	}
	return each(ips, func(i int, ip string) error { return c.addPod(ctx, name, i, ip) })
}

func (c *cluster) addPod(ctx context.Context, app string, i int, ip string) error {
	pods := c.core.CoreV1().Pods("default")
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", app, i), Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "vllm", Image: "vllm"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// each calls f for every item, eight at once, and returns an error of one of them.
func each(items []string, f func(i int, item string) error) error {
	var (
		workers sync.WaitGroup
		turns   = make(chan struct{}, 8)
		errs    = make(chan error, len(items))
	)
	for i, item := range items {
		turns <- struct{}{}
		workers.Go(func() {
			errs <- f(i, item)
			<-turns
		})
	}
	workers.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
