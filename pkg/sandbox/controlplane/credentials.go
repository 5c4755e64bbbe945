package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// prepare makes the state folder with a fresh token per user and a fresh key
// for service account tokens. A certificate of an earlier run is removed, since
// its appearance tells that this run's API server is about to listen.
func prepare(dir string) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(filepath.Join(dir, certDir)); err != nil {
		return nil, err
	}
	tokens := map[string]string{AdminUser: rand.Text(), CIUser: rand.Text()}
	csv := fmt.Sprintf("%s,%s,%s,system:masters\n%s,%s,%s\n",
		tokens[AdminUser], AdminUser, AdminUser, tokens[CIUser], CIUser, CIUser)
	if err := os.WriteFile(filepath.Join(dir, tokenFile), []byte(csv), 0o600); err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make service account key: %w", err)
	}
	return tokens, os.WriteFile(filepath.Join(dir, accountKey), key, 0o600)
}

func newKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// WriteKubeconfig writes a kubeconfig (mode 0600) with two contexts: name, the
// current one, is the admin; name-infer-ci is the restricted user.
func (c *ControlPlane) WriteKubeconfig(path, name string) error {
	config := api.NewConfig()
	config.CurrentContext = name
	config.Clusters[name] = &api.Cluster{Server: c.host, CertificateAuthorityData: c.ca}
	for user, token := range c.tokens {
		context := name
		if user != AdminUser {
			context += "-" + user
		}
		config.AuthInfos[context] = &api.AuthInfo{Token: token}
		config.Contexts[context] = &api.Context{Cluster: name, AuthInfo: context, Namespace: "default"}
	}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", path, err)
	}
	return nil
}
