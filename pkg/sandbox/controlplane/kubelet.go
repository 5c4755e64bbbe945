package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certificates between the API server and the kubelet of its Nodes, each its
// own authority; the serving key never leaves the process.
const (
	kubeletServing = "kubelet-serving.crt" // what the API server trusts
	kubeletClient  = "kubelet-client.crt"  // what the kubelet trusts
	kubeletKey     = "kubelet-client.key"
)

// kubeletLife outlasts every sandbox; its keys die with its folder.
const kubeletLife = 10 * 365 * 24 * time.Hour

// KubeletTLS is the serving side of the API server's connections to a kubelet
// at the NodeAddress it was started with: it lets nobody but this API server
// in, who in turn believes no other kubelet. HTTP/1.1 only, as streams upgrade.
func (c *ControlPlane) KubeletTLS() *tls.Config { return c.kubelet.Clone() }

// prepareKubelet makes both certificates; address is the Node's.
func prepareKubelet(dir, address string) (*tls.Config, error) {
	serving, servingPEM, _, err := certificate("kubelet", x509.ExtKeyUsageServerAuth, net.ParseIP(address))
	if err != nil {
		return nil, err
	}
	_, clientPEM, keyPEM, err := certificate("kube-apiserver", x509.ExtKeyUsageClientAuth, nil)
	if err != nil {
		return nil, err
	}
	for name, text := range map[string][]byte{kubeletServing: servingPEM, kubeletClient: clientPEM, kubeletKey: keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(clientPEM)
	return &tls.Config{
		Certificates: []tls.Certificate{serving}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
	}, nil
}

// certificate makes a self-signed one for a name and, if not nil, an address.
func certificate(name string, use x509.ExtKeyUsage, ip net.IP) (pair tls.Certificate, cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(kubeletLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{use},
		IsCA: true, BasicConstraintsValid: true,
	}
	if ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return pair, nil, nil, fmt.Errorf("sign certificate of %s: %w", name, err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return pair, nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
	pair, err = tls.X509KeyPair(cert, key)
	return pair, cert, key, err
}
