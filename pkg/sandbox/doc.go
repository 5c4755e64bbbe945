// Package sandbox brings a whole inference gateway up on one machine, without
// containers, and takes all of it down again.
//
// Start reading at Run: it claims a name and a network, obtains the assets,
// and starts the control plane, the body router, the gateway with its Envoy,
// and the pod runner. Home finds the sandboxes of this user and clears away
// what a killed one left.
//
// A sandbox is one process, the supervisor, with everything else its child.
// Children die with it, also when it is killed (package process). Its name is
// held by a lock on a file in its state folder, its addresses 127.N.0.0/16 by a
// listener on 127.N.255.254:9999; the kernel lets go of both when it dies, so
// neither can be stale.
//
//	127.N.0.1   control plane    127.N.0.4   body router
//	127.N.0.2   kubelet          127.N.1.x   one per Gateway
//	127.N.0.3   Envoy's admin    127.N.2.1…  Pods
package sandbox
