package podrunner

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// TestMain is also the model server of this package's Pods: run as
// "model-server-sim" it serves /health, its environment, and the
// faults it was told, and it exits with the status asked of /exit.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ModelServer {
		serveTrivially()
		return
	}
	goleak.VerifyTestMain(m)
}

func serveTrivially() {
	faults := []byte("{}")
	http.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("GET /env/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, os.Getenv(r.PathValue("name")))
	})
	http.HandleFunc("GET /exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	http.HandleFunc("GET /sandbox/faults", func(w http.ResponseWriter, _ *http.Request) { w.Write(faults) })
	http.HandleFunc("PUT /sandbox/faults", func(_ http.ResponseWriter, r *http.Request) { faults, _ = io.ReadAll(r.Body) })
	fmt.Println("serving", os.Args[2:])
	fmt.Println(http.ListenAndServe(net.JoinHostPort(os.Getenv("POD_IP"), "8000"), nil))
}

// cluster is a real API server with a Runner at work.
type cluster struct {
	kubernetes.Interface
	t      *testing.T
	logDir string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	path := func(name string) string {
		a, err := store.Find(t.Context(), name)
		if err != nil {
			t.Fatalf("%v (hint: %s)", err, hint.Of(err))
		}
		return a.Path
	}
	n := claim(t)
	dir := t.TempDir()
	starter := process.NewStarter()
	t.Cleanup(starter.Close)
	control, err := controlplane.Start(t.Context(), controlplane.Options{
		Starter: starter, Etcd: path(assets.Etcd), KubeAPIServer: path(assets.KubeAPIServer),
		Dir: filepath.Join(dir, "control"), LogDir: filepath.Join(dir, "logs"), Address: fmt.Sprintf("127.%d.0.1", n),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(control.Stop)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Interface: kubernetes.NewForConfigOrDie(control.AdminConfig()), t: t, logDir: filepath.Join(dir, "logs", "pods")}
	runner, err := New(Options{
		Config: control.AdminConfig(), N: n, Starter: starter, Executable: executable,
		Dir: filepath.Join(dir, "pods"), LogDir: c.logDir, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("runner: %v", err)
		}
	})
	return c
}

func claim(t *testing.T) byte {
	t.Helper()
	for n := 110; n < 180; n++ {
		if lock, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:9999", n)); err == nil {
			t.Cleanup(func() { lock.Close() })
			return byte(n)
		}
	}
	t.Fatal("every 127.N.0.0/16 from 110 to 179 is taken")
	return 0
}

// eventually polls until the condition returns "".
func (c *cluster) eventually(what string, condition func() string) {
	c.t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(c.t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		last = condition()
		return last == "", nil
	})
	if err != nil {
		c.t.Fatalf("%s: not within 30 s: %s", what, last)
	}
}

func (c *cluster) pods() []corev1.Pod {
	c.t.Helper()
	list, err := c.CoreV1().Pods("default").List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

func (c *cluster) awaitReady(n int) []corev1.Pod {
	c.t.Helper()
	var ready []corev1.Pod
	c.eventually(fmt.Sprintf("%d ready Pods and no other", n), func() string {
		ready = nil
		all := c.pods()
		for i := range all {
			if isReady(&all[i]) {
				ready = append(ready, all[i])
			}
		}
		if len(ready) == n && len(all) == n {
			return ""
		}
		return fmt.Sprintf("%d of %d are ready", len(ready), len(all))
	})
	return ready
}

func (c *cluster) patch(kind types.PatchType, body string) {
	c.t.Helper()
	if _, err := c.AppsV1().Deployments("default").Patch(c.t.Context(), "qwen", kind, []byte(body), metav1.PatchOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func get(t *testing.T, ip, path string) string {
	t.Helper()
	response, err := probeClient().Get("http://" + ip + ":8000" + path)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func qwen(replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": "qwen"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "qwen"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "server", Image: "model-server-sim", Args: []string{"m"},
					Env:            []corev1.EnvVar{{Name: "WHO", Value: "$(POD_NAME)"}},
					ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromInt32(8000)}}},
				}}},
			},
		},
	}
}

func TestADeploymentsLife(t *testing.T) {
	c := newCluster(t)
	if _, err := c.AppsV1().Deployments("default").Create(t.Context(), qwen(2), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pods := c.awaitReady(2)
	first := pods[0]
	if got := get(t, first.Status.PodIP, "/env/WHO"); got != first.Name {
		t.Errorf("WHO is %q in Pod %s", got, first.Name)
	}
	if token, err := os.ReadFile(strings.TrimSuffix(get(t, first.Status.PodIP, "/env/KUBECONFIG"), "kubeconfig") + "token"); err != nil || len(token) == 0 {
		t.Errorf("the Pod's token: %d bytes, %v", len(token), err)
	}
	c.eventually("Deployment status", func() string {
		d, err := c.AppsV1().Deployments("default").Get(t.Context(), "qwen", metav1.GetOptions{})
		if err != nil || d.Status.AvailableReplicas != 2 || d.Status.ObservedGeneration != d.Generation {
			return fmt.Sprintf("%+v %v", d.Status, err)
		}
		return ""
	})
	log, err := os.ReadFile(filepath.Join(c.logDir, LogName("default", first.Name, "server")))
	if err != nil || !strings.Contains(string(log), "serving [m]") {
		t.Errorf("log %q, %v", log, err)
	}

	get(t, first.Status.PodIP, "/exit")
	c.eventually("a restart in place", func() string {
		p, err := c.CoreV1().Pods("default").Get(t.Context(), first.Name, metav1.GetOptions{})
		if err != nil || !isReady(p) || p.Status.ContainerStatuses[0].RestartCount != 1 || p.Status.ContainerStatuses[0].LastTerminationState.Terminated.ExitCode != 3 {
			return fmt.Sprintf("%+v %v", p.Status.ContainerStatuses, err)
		}
		return ""
	})

	c.faults(first)
	c.rollingUpdate(pods)

	if err := c.AppsV1().Deployments("default").Delete(t.Context(), "qwen", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.awaitReady(0)
	c.eventually("the processes are gone", func() string {
		if got := get(t, first.Status.PodIP, "/health"); !strings.Contains(got, "refused") {
			return "got " + got
		}
		return ""
	})
}

// faults follow the Deployment's annotation, through a restart, dead, and back.
func (c *cluster) faults(first corev1.Pod) {
	c.t.Helper()
	told := func(want string) {
		c.t.Helper()
		c.eventually("faults "+want, func() string {
			if got := get(c.t, first.Status.PodIP, "/sandbox/faults"); got != want {
				return "got " + got
			}
			return ""
		})
	}
	c.patch(types.MergePatchType, `{"metadata":{"annotations":{"kubectl-infer.github.io/faults":"{\"slowFactor\":4}"}}}`)
	told(`{"slowFactor":4}`)
	get(c.t, first.Status.PodIP, "/exit")
	told(`{"slowFactor":4}`)
	c.patch(types.MergePatchType, `{"metadata":{"annotations":{"kubectl-infer.github.io/faults":"{\"dead\":true}"}}}`)
	c.eventually("dead Pods are kept down and not ready", func() string {
		for _, p := range c.pods() {
			waiting := p.Status.ContainerStatuses[0].State.Waiting
			if isReady(&p) || waiting == nil || waiting.Reason != "Dead" {
				return p.Name + " lives"
			}
		}
		return ""
	})
	c.patch(types.MergePatchType, `{"metadata":{"annotations":{"kubectl-infer.github.io/faults":null}}}`)
	told(`{}`)
	c.awaitReady(2)
}

// rollingUpdate replaces every Pod when the template changes.
func (c *cluster) rollingUpdate(before []corev1.Pod) {
	c.t.Helper()
	c.patch(types.JSONPatchType, `[{"op":"add","path":"/spec/template/metadata/annotations","value":{"restarted":"yes"}}]`)
	c.eventually("a rolling update", func() string {
		d, err := c.AppsV1().Deployments("default").Get(c.t.Context(), "qwen", metav1.GetOptions{})
		if err != nil || d.Status.ObservedGeneration != d.Generation || d.Status.UpdatedReplicas != 2 || d.Status.Replicas != 2 || d.Status.ReadyReplicas != 2 {
			return fmt.Sprintf("%+v %v", d.Status, err)
		}
		return ""
	})
	for _, p := range c.awaitReady(2) {
		for _, old := range before {
			if p.UID == old.UID {
				c.t.Errorf("Pod %s survived a new template", p.Name)
			}
		}
	}
}

func TestBarePods(t *testing.T) {
	c := newCluster(t)
	make := func(name string, spec corev1.PodSpec) {
		t.Helper()
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
		if _, err := c.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	status := func(name, want string) {
		t.Helper()
		c.eventually(name, func() string {
			p, err := c.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			got := string(p.Status.Phase)
			if len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil {
				got += " " + p.Status.ContainerStatuses[0].State.Waiting.Reason
			}
			if got != want {
				return "got " + got + ", want " + want
			}
			return ""
		})
	}
	sleep := []corev1.Container{{Name: "c", Image: "busybox", Command: []string{"sleep", "3600"}}}
	make("sleeps", corev1.PodSpec{Containers: sleep})
	make("over", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "busybox", Command: []string{"sleep", "0"}}}})
	make("unknown", corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx"}}})
	make("nobody", corev1.PodSpec{ServiceAccountName: "nobody", Containers: sleep})
	status("sleeps", "Running")
	status("over", "Succeeded")
	status("unknown", "Pending NoLocalProgram")
	status("nobody", "Pending CreateContainerConfigError")
	if _, err := c.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "nobody"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	status("nobody", "Running")
}
