// Package controlplane runs a real etcd and a real kube-apiserver as children.
//
// Start reading at [Start]: it writes fresh credentials into the state folder,
// starts both programs, and returns once /readyz (which includes etcd) is ok.
// There are no controllers, so what they would make and a sandbox needs is made
// by [EnsureDefaults]; [InstallCRDs] adds kinds.
//
// Decisions:
//   - Only the API server listens on an address. etcd has neither password nor
//     TLS here, and who can write to it owns the sandbox, so it is reached
//     through unix sockets in the state folder, which is private to the user.
//     Their names are relative: socket paths end at 108 bytes, and both
//     programs run inside the folder.
//   - RBAC is on. User admin is in system:masters; user infer-ci may nothing
//     until a role is bound to it, so shipped roles are tested for real.
//   - Admission of ServiceAccounts is off: it would wait for token objects that
//     a controller makes. TokenRequest works, with a key of this sandbox alone.
//   - A kubelet (package podrunner has one) and the API server know each other by
//     certificates made for this sandbox, since logs and exec are as good as a
//     shell: nobody else on the machine gets in. The API server connects to a
//     Node's InternalIP and takes 127.x there, where pods/proxy refuses it.
//   - etcd does not fsync: a sandbox does not survive its machine.
package controlplane
