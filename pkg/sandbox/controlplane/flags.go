package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
)

// Names inside the state folder, which is the working directory of both
// programs. etcd wants a port even on a unix socket; it becomes part of the name.
const (
	etcdData    = "etcd"
	etcdClient  = "unix://etcd.sock:0"
	etcdPeer    = "unix://etcd-peer.sock:0"
	certDir     = "certs"
	servingCert = "certs/apiserver.crt"
	tokenFile   = "tokens.csv"
	accountKey  = "service-account.key"
)

func etcdArgs() []string {
	return []string{
		"--name=sandbox",
		"--data-dir=" + etcdData,
		"--listen-client-urls=" + etcdClient,
		"--advertise-client-urls=" + etcdClient,
		"--listen-peer-urls=" + etcdPeer,
		"--initial-advertise-peer-urls=" + etcdPeer,
		"--initial-cluster=sandbox=" + etcdPeer,
		"--unsafe-no-fsync",
	}
}

func apiArgs(address string) []string {
	return []string{
		"--etcd-servers=" + etcdClient,
		"--bind-address=" + address,
		"--advertise-address=" + address,
		"--secure-port=" + apiPort,
		"--cert-dir=" + certDir,
		"--endpoint-reconciler-type=none", // EndpointSlices refuse loopback
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		"--token-auth-file=" + tokenFile,
		"--disable-admission-plugins=ServiceAccount",
		"--kubelet-certificate-authority=" + kubeletServing,
		"--kubelet-client-certificate=" + kubeletClient,
		"--kubelet-client-key=" + kubeletKey,
		"--kubelet-preferred-address-types=InternalIP", // there is no DNS
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + accountKey,
		"--service-account-signing-key-file=" + accountKey,
	}
}

// AuditLog is the file in LogDir that has every request, a JSON object a line
// (audit.k8s.io/v1), when Options.Audit is set.
const AuditLog = "audit.log"

// auditArgs make the API server write who asked for what, never the bodies.
func auditArgs(o Options) ([]string, error) {
	if !o.Audit {
		return nil, nil
	}
	policy := filepath.Join(o.Dir, "audit-policy.yaml")
	text := "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write audit policy: %w", err)
	}
	return []string{"--audit-policy-file=" + policy, "--audit-log-path=" + filepath.Join(o.LogDir, AuditLog)}, nil
}
