package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"default": true, "a": true, "run-x2": true,
		"": false, "-a": false, "a-": false, "A": false, "a/b": false, "..": false, strings.Repeat("a", 41): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v, valid should be %t", name, err, ok)
		}
	}
}

func TestOneSandboxPerName(t *testing.T) {
	t.Parallel()
	home := Home{Dir: t.TempDir()}
	held, err := home.Folder("a").take("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := home.Folder("a").take("a"); err == nil || !strings.Contains(hint.Of(err), "down --name a") {
		t.Errorf("a second one: %v (hint %q), want a refusal that says how to end the first", err, hint.Of(err))
	}
	state, there := home.Look("a")
	if !there || state.Phase != Starting || state.PID != os.Getpid() {
		t.Errorf("while it starts: %+v, %t", state, there)
	}
	if err := (State{Name: "a", Phase: Running, PID: 7, Folder: home.Folder("a"), Gateway: "127.10.1.1:8080"}).write(); err != nil {
		t.Fatal(err)
	}
	if state, _ := home.Look("a"); state.Phase != Running || state.Gateway != "127.10.1.1:8080" {
		t.Errorf("once it runs: %+v", state)
	}
	held.release()
	if _, there := home.Look("a"); there {
		t.Error("it is still there after its lock was released")
	}
}

func TestAKilledSandboxIsClearedAway(t *testing.T) {
	t.Parallel()
	home := Home{Dir: t.TempDir()}
	held, err := home.Folder("dead").take("dead")
	if err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(string(home.Folder("dead")), "etcd-data")
	if err := os.WriteFile(stale, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	held.release() // what the kernel does at a SIGKILL
	alive, err := home.Folder("alive").take("alive")
	if err != nil {
		t.Fatal(err)
	}
	defer alive.release()
	states, cleared, err := home.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(states) != 1 || states[0].Name != "alive" || len(cleared) != 1 || cleared[0] != "dead" {
		t.Errorf("running %+v, cleared %v; want alive, dead", states, cleared)
	}
	if _, err := os.Stat(string(home.Folder("dead"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the killed one: %v, want none", err)
	}
}

func TestTakingAStaleFolderEmptiesIt(t *testing.T) {
	t.Parallel()
	folder := Home{Dir: t.TempDir()}.Folder("a")
	for _, path := range []string{folder.StartLog(), folder.Kubeconfig(), filepath.Join(folder.PodLogs(), "x.log")} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held, err := folder.take("a")
	if err != nil {
		t.Fatal(err)
	}
	defer held.release()
	if _, err := os.Stat(folder.StartLog()); err != nil {
		t.Errorf("the start log, which a parent writes to: %v", err)
	}
	for _, path := range []string{folder.Kubeconfig(), folder.PodLogs()} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want it gone", path, err)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	home := Home{Dir: filepath.Join(t.TempDir(), "none-yet")}
	refused := func(name, want, advice string) {
		t.Helper()
		if _, err := home.Find(name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(hint.Of(err), advice) {
			t.Errorf("find %q: %v (hint %q), want %q with hint %q", name, err, hint.Of(err), want, advice)
		}
	}
	refused("", "no sandbox is running", "sandbox up")
	refused("a", "is not running", "up --name a")
	for _, name := range []string{"a", "b"} {
		if found, err := home.Find(""); name == "b" && (err != nil || found.Name != "a") {
			t.Errorf("the only one: %+v, %v", found, err)
		}
		held, err := home.Folder(name).take(name)
		if err != nil {
			t.Fatal(err)
		}
		defer held.release()
	}
	if found, err := home.Find("b"); err != nil || found.Name != "b" {
		t.Errorf("by name: %+v, %v", found, err)
	}
	refused("", "2 sandboxes are running", "a, b")
	refused("c", "is not running", "a, b")
	if err := home.RecordEnd("c", errors.New("envoy ended")); err != nil {
		t.Fatal(err)
	}
	refused("c", "ended by itself: envoy ended", "up --name c")
	if err := home.ForgetEnd("c"); err != nil || len(home.Ended()) != 0 {
		t.Errorf("forgotten: %v, still %v", err, home.Ended())
	}
}
