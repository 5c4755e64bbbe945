package sandbox

import (
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

// allKinds has one of each kind of Pod that is no Deployment's.
const allKinds = `
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec:
  completions: 3
  parallelism: 2
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: busybox, command: [sleep, "0"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: busybox, command: [sleep, notanumber]}]
---
apiVersion: v1
kind: Pod
metadata: {name: prepared}
spec:
  initContainers:
  - {name: fetch, image: acme/fetcher}
  - {name: first, image: busybox, command: [sleep, "0"]}
  - {name: side, image: acme/agent:v3, args: [infinity], restartPolicy: Always}
  containers:
  - {name: main, image: acme/agent:v3, args: [infinity], resources: {limits: {cpu: 1}}}
---
apiVersion: v1
kind: Pod
metadata: {name: stillborn}
spec:
  restartPolicy: Never
  initContainers: [{name: first, image: busybox, command: [sleep, notanumber]}]
  containers: [{name: main, image: busybox, command: [sleep, infinity]}]
`

func podsOfAllKinds(t *testing.T, s sandbox.State) {
	apply(t, s, allKinds)
	mustKubectl(t, s, "wait", "--for=condition=Complete", "job/good", "--timeout=20s")
	if got := mustKubectl(t, s, "get", "job", "good", "-o", "jsonpath={.status.succeeded} {.status.completionTime}"); !strings.HasPrefix(got, "3 2") {
		t.Errorf("job good says %q, want 3 successes and a time", got)
	}
	mustKubectl(t, s, "wait", "--for=condition=Failed", "job/bad", "--timeout=20s")
	if got := mustKubectl(t, s, "logs", "job/bad"); !strings.Contains(got, "notanumber") {
		t.Errorf("the failed Pod's log says %q", got)
	}
	mustKubectl(t, s, "wait", "--for=condition=Ready", "pod/prepared", "--timeout=20s")
	if got := mustKubectl(t, s, "get", "pod", "prepared", "-o", "jsonpath={.status.initContainerStatuses[*].state}"); !strings.Contains(got, "Completed") || !strings.Contains(got, "running") {
		t.Errorf("init containers are %s, want one completed and the sidecar running", got)
	}
	mustKubectl(t, s, "wait", "--for=jsonpath={.status.phase}=Failed", "pod/stillborn", "--timeout=20s")
	ignored := mustKubectl(t, s, "get", "events", "--field-selector", "involvedObject.name=prepared,reason=Ignored", "-o", "jsonpath={.items[*].message}")
	if strings.Count(ignored, "has no effect") != 1 || !strings.Contains(ignored, "initContainer fetch (no local program)") || !strings.Contains(ignored, "resources") {
		t.Errorf("what is ignored is said as %q, want one event with the init container and the resources", ignored)
	}
	mustKubectl(t, s, "delete", "job", "good", "bad")
	eventually(t, "the Jobs' Pods are gone with them", func() bool {
		return mustKubectl(t, s, "get", "pods", "-l", "job-name", "-o", "name") == ""
	}, func() string { return "" })
	mustKubectl(t, s, "delete", "pod", "prepared", "stillborn", "--grace-period=1")
}
