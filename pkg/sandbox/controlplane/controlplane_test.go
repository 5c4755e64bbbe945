package controlplane_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// claim reserves a 127.N.0.0/16 as a sandbox does: by listening on its lock
// address for as long as the test runs.
func claim(t *testing.T) string {
	t.Helper()
	for n := 180; n < 250; n++ {
		lock, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:9999", n))
		if err != nil {
			continue
		}
		t.Cleanup(func() { lock.Close() })
		return fmt.Sprintf("127.%d.0.1", n)
	}
	t.Fatal("every 127.N.0.0/16 from 180 to 249 is taken")
	return ""
}

// options fails the test when a binary is not there yet; nothing is skipped.
func options(t *testing.T, starter *process.Starter) controlplane.Options {
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
	dir := t.TempDir()
	return controlplane.Options{
		Starter: starter, Etcd: path(assets.Etcd), KubeAPIServer: path(assets.KubeAPIServer),
		Dir: filepath.Join(dir, "state"), LogDir: filepath.Join(dir, "logs"), Address: claim(t),
	}
}

func start(t *testing.T) (*controlplane.ControlPlane, controlplane.Options) {
	t.Helper()
	starter := process.NewStarter()
	t.Cleanup(starter.Close)
	o := options(t, starter)
	began := time.Now()
	c, err := controlplane.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	t.Logf("ready on %s after %s", o.Address, time.Since(began).Round(time.Millisecond))
	return c, o
}

func clientOf(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// pidsIn lists the processes whose working directory is dir.
func pidsIn(t *testing.T, dir string) (pids []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && cwd == dir {
			pids = append(pids, filepath.Base(filepath.Dir(link)))
		}
	}
	return pids
}

func TestTwoControlPlanesSideBySide(t *testing.T) {
	t.Parallel()
	one, o1 := start(t)
	two, o2 := start(t)
	ctx := t.Context()

	admin := clientOf(t, one.AdminConfig()).CoreV1().ConfigMaps("default")
	if _, err := admin.Create(ctx, configMap("only-in-one"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := clientOf(t, two.AdminConfig()).CoreV1().ConfigMaps("default").Get(ctx, "only-in-one", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the second control plane answers %v, want not found", err)
	}
	crossed := two.AdminConfig()
	crossed.BearerToken = one.AdminConfig().BearerToken
	if _, err := clientOf(t, crossed).CoreV1().ConfigMaps("default").Get(ctx, "x", metav1.GetOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("the token of one opens the other: %v", err)
	}
	for _, o := range []controlplane.Options{o1, o2} {
		if got := len(pidsIn(t, o.Dir)); got != 2 {
			t.Errorf("%d processes run in %s, want etcd and kube-apiserver", got, o.Dir)
		}
	}
	one.Stop()
	one.Stop()
	if err := one.Err(); err != nil {
		t.Errorf("Err() after Stop = %v", err)
	}
	if left := pidsIn(t, o1.Dir); len(left) != 0 {
		t.Errorf("Stop left processes %v", left)
	}
	if _, err := clientOf(t, two.AdminConfig()).Discovery().ServerVersion(); err != nil {
		t.Errorf("stopping one hurt the other: %v", err)
	}
}

func TestUsersDefaultsAndDefinitions(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	t.Run("the restricted user is forbidden", func(t *testing.T) { restricted(t, c) })
	t.Run("the kubeconfig opens both contexts", func(t *testing.T) { kubeconfig(t, c) })
	t.Run("a service account gets tokens that work", func(t *testing.T) { serviceAccount(t, c) })
	t.Run("definitions are served when InstallCRDs returns", func(t *testing.T) { definitions(t, c) })
}

func restricted(t *testing.T, c *controlplane.ControlPlane) {
	_, err := clientOf(t, c.Config(controlplane.CIUser)).CoreV1().ConfigMaps("default").
		Create(t.Context(), configMap("x"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("create configmap as %s: %v, want forbidden", controlplane.CIUser, err)
	}
}

func kubeconfig(t *testing.T, c *controlplane.ControlPlane) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.WriteKubeconfig(path, "infer-test"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode(), err)
	}
	for context, user := range map[string]string{"": controlplane.AdminUser, "infer-test-infer-ci": controlplane.CIUser} {
		config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
			&clientcmd.ClientConfigLoadingRules{ExplicitPath: path},
			&clientcmd.ConfigOverrides{CurrentContext: context}).ClientConfig()
		if err != nil {
			t.Fatal(err)
		}
		if config.BearerToken != c.Config(user).BearerToken {
			t.Errorf("context %q is not user %s", context, user)
		}
		if _, err := clientOf(t, config).Discovery().ServerVersion(); err != nil {
			t.Errorf("context %q: %v", context, err)
		}
	}
}

func TestADeadChildIsReported(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"etcd", "kube-apiserver"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, o := start(t)
			kill(t, o.Dir, name)
			select {
			case <-c.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("Done() stays silent")
			}
			err := c.Err()
			if err == nil || !strings.Contains(err.Error(), name+" ended: signal: killed; its last log lines:\n") {
				t.Errorf("Err() = %v", err)
			}
			c.Stop()
			if left := pidsIn(t, o.Dir); len(left) != 0 {
				t.Errorf("Stop left processes %v", left)
			}
		})
	}
}

func kill(t *testing.T, dir, name string) {
	t.Helper()
	for _, pid := range pidsIn(t, dir) {
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue
		}
		var n int
		if _, err := fmt.Sscan(pid, &n); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no %s runs in %s", name, dir)
}

func TestATakenAddressIsNamed(t *testing.T) {
	t.Parallel()
	starter := process.NewStarter()
	t.Cleanup(starter.Close)
	o := options(t, starter)
	taken, err := net.Listen("tcp", net.JoinHostPort(o.Address, "6443"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = controlplane.Start(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), o.Address) {
		t.Errorf("Start() = %v", err)
	}
	if hint.Of(err) == "" {
		t.Error("no hint")
	}
	if left := pidsIn(t, o.Dir); len(left) != 0 {
		t.Errorf("a failed start left processes %v", left)
	}
}
