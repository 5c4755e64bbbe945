// Package podrunner runs Pods without a kubelet: every container becomes one
// local process with a loopback address of its own, and the API server is told
// the truth about it.
//
// It stands in for four things a sandbox has none of: the Deployment
// controller (deployment.go; the decisions are plan in rollout.go), the
// scheduler (bare Pods are bound to the one Node), the kubelet (pod.go,
// container.go, probe.go, status.go) and the garbage collector for Pods whose
// Deployment is gone. Start reading at Runner.Run; what a container turns into
// is Resolve.
//
// Decisions made here, where a real cluster leaves room:
//
//   - A Pod gets an address 127.N.2.1 or above, announced in its status and
//     given to its processes as POD_IP. Servers must bind it, since all Pods
//     share the host's ports.
//   - Until a container is ready its readiness probe runs five times a second,
//     whatever periodSeconds says; from then on it runs as declared. A container
//     without one is ready when its first containerPort accepts a connection.
//   - Restarts back off from 1 s, doubled up to 30 s, and start over once a
//     process has run for 60 s. (A kubelet: 10 s to 5 min.)
//   - A ServiceAccount's token is asked for 24 hours and renewed in its file
//     after 12; client-go reads the file again every minute.
//   - Limits, requests, volumes, lifecycle hooks, probes by command, envFrom
//     and valueFrom other than fieldRef are ignored, and an event says so once
//     per Pod.
//   - A fault annotation is level-triggered: it holds again after a restart, and
//     its removal mends the Pod.
package podrunner
