package extproc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// tlsVersion is the lowest version to accept. TLS 1.3 is the rule. Without
// certificate files the gateway was not set up for us either, and Envoy by
// itself offers its upstreams no more than TLS 1.2: there 1.2 is accepted.
func (o *Options) tlsVersion() (uint16, error) {
	switch {
	case o.TLSMinVersion == "1.3" || o.TLSMinVersion == "" && o.CertPath != "":
		return tls.VersionTLS13, nil
	case o.TLSMinVersion == "1.2" || o.TLSMinVersion == "":
		return tls.VersionTLS12, nil
	}
	return 0, fmt.Errorf("--tls-min-version %q: neither 1.2 nor 1.3", o.TLSMinVersion)
}

// tlsConfig serves the certificate files of o, or a certificate made here when
// it names none. Files are read again when they change.
func tlsConfig(o *Options, now func() time.Time) (*tls.Config, error) {
	version, err := o.tlsVersion()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: version, NextProtos: []string{"h2"}}
	if o.CertPath == "" {
		cert, err := selfSigned(now())
		if err != nil {
			return nil, fmt.Errorf("make self-signed certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	} else {
		pair := keyPair(filepath.Join(o.CertPath, "tls.crt"), filepath.Join(o.CertPath, "tls.key"))
		if _, err := pair.get(); err != nil {
			return nil, hint.Wrap(fmt.Errorf("load certificate: %w", err), "mount a secret of type kubernetes.io/tls at --cert-path")
		}
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.get() }
	}
	if o.ClientCAFile == "" {
		return config, nil
	}
	return config, requireClients(config, o.ClientCAFile)
}

// requireClients lets in only clients with a certificate of file's authorities.
func requireClients(config *tls.Config, file string) error {
	authorities := &followed[*x509.CertPool]{files: []string{file}, load: func() (*x509.CertPool, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, errors.New("no certificate in " + file)
		}
		return pool, nil
	}}
	if _, err := authorities.get(); err != nil {
		return hint.Wrap(fmt.Errorf("load client authorities: %w", err), "name a PEM file in --client-ca-file")
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	base := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, err := authorities.get()
		if err != nil {
			return nil, err
		}
		now := base.Clone()
		now.ClientCAs = pool
		return now, nil
	}
	return nil
}

func keyPair(cert, key string) *followed[*tls.Certificate] {
	return &followed[*tls.Certificate]{files: []string{cert, key}, load: func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		return &pair, err
	}}
}

// followed is what files hold, read again when one of them is another file or has
// a new time. What does not load, such as files half written, leaves the last good
// value.
type followed[T any] struct {
	files []string
	load  func() (T, error)

	mu    sync.Mutex
	seen  []os.FileInfo // of the value; nil before there is one
	value T
}

func (f *followed[T]) get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.changed()
	if err == nil && now == nil {
		return f.value, nil
	}
	var value T
	if err == nil {
		value, err = f.load()
	}
	switch {
	case err == nil:
		f.value, f.seen = value, now
	case f.seen != nil:
		err = nil
	}
	return f.value, err
}

// changed looks at the files; nil when they are those of the value.
func (f *followed[T]) changed() ([]os.FileInfo, error) {
	now, same := make([]os.FileInfo, len(f.files)), f.seen != nil
	for i, file := range f.files {
		var err error
		if now[i], err = os.Stat(file); err != nil {
			return nil, err
		}
		same = same && os.SameFile(now[i], f.seen[i]) && now[i].ModTime().Equal(f.seen[i].ModTime())
	}
	if same {
		return nil, nil
	}
	return now, nil
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
