package sandbox

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

// window is a terminal of one size.
type window struct {
	sizes chan remotecommand.TerminalSize
}

func (w window) Next() *remotecommand.TerminalSize {
	size, more := <-w.sizes
	if !more {
		return nil
	}
	return &size
}

// execsInATerminal does what kubectl exec -it does, which wants a terminal of
// its own for it.
func execsInATerminal(t *testing.T, s sandbox.State) {
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	const script = "until [ \"$(stty size)\" = '33 77' ]; do :; done; tty; read word; echo got $word >&2; exit 3"
	url := client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("sleeper").SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Stdin: true, Stdout: true, TTY: true, Command: []string{"sh", "-c", script}}, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(config, "GET", url.String())
	if err != nil {
		t.Fatal(err)
	}
	w := window{make(chan remotecommand.TerminalSize, 1)}
	w.sizes <- remotecommand.TerminalSize{Width: 77, Height: 33}
	defer close(w.sizes)
	var out bytes.Buffer
	err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{
		Stdin: strings.NewReader("hello\n"), Stdout: &out, Tty: true, TerminalSizeQueue: w,
	})
	var exit utilexec.CodeExitError
	if !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("it ended with %v, want exit code 3", err)
	}
	if got := out.String(); !strings.Contains(got, "/dev/pts/") || !strings.Contains(got, "got hello\r\n") {
		t.Errorf("the terminal shows %q", got)
	}
}
