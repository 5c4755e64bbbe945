package extproc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// tlsConfig serves the certificate in folder, or one made here when folder is
// empty. TLS 1.2 is allowed because it is what Envoy offers upstream by default.
func tlsConfig(folder string, now func() time.Time) (*tls.Config, error) {
	if folder == "" {
		cert, err := selfSigned(now())
		if err != nil {
			return nil, fmt.Errorf("make self-signed certificate: %w", err)
		}
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}, nil
	}
	files := &certFiles{
		cert: filepath.Join(folder, "tls.crt"),
		key:  filepath.Join(folder, "tls.key"),
	}
	if _, err := files.get(nil); err != nil {
		return nil, hint.Wrap(err, "mount a secret of type kubernetes.io/tls at --cert-path")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.get}, nil
}

// certFiles is a certificate that follows its files.
type certFiles struct {
	cert, key string

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time
}

// get returns the certificate, read again when its file has a new time. A pair
// that does not load, such as one half written, leaves the last good one.
func (f *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.cert)
	if err == nil && f.loaded != nil && info.ModTime().Equal(f.changed) {
		return f.loaded, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(f.cert, f.key)
	}
	if err != nil {
		if f.loaded != nil {
			return f.loaded, nil
		}
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	f.loaded, f.changed = &pair, info.ModTime()
	return f.loaded, nil
}

func selfSigned(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "kubectl-infer self-signed"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
