package extproc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// writeCert writes a certificate for name, with a file time of its own.
func writeCert(t *testing.T, folder, name string, modified time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der},
		"tls.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		path := filepath.Join(folder, file)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
}

// presented returns the common name of the certificate that a server shows.
func presented(t *testing.T, s *served) string {
	t.Helper()
	address, _, _ := s.Addresses()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestCertificatesFollowTheirFiles(t *testing.T) {
	t.Parallel()
	folder, start := t.TempDir(), time.Now()
	writeCert(t, folder, "first", start)
	s := serve(t, func(o *extproc.Options) { o.SecureServing, o.CertPath = true, folder })
	if got := presented(t, s); got != "first" {
		t.Errorf("got %q", got)
	}
	writeCert(t, folder, "second", start.Add(time.Second))
	if got := presented(t, s); got != "second" {
		t.Errorf("after a new file: got %q", got)
	}
	if err := os.WriteFile(filepath.Join(folder, "tls.crt"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := presented(t, s); got != "second" {
		t.Errorf("with a broken file: got %q", got)
	}
}

func TestWithoutFilesTheCertificateIsSelfSigned(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *extproc.Options) { o.SecureServing = true })
	if got := presented(t, s); got != "kubectl-infer self-signed" {
		t.Errorf("got %q", got)
	}
}

func TestListenNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	o := extproc.DefaultOptions("127.0.0.1", 0, 0)
	o.SecureServing, o.MetricsPort = true, 0
	o.CertPath = t.TempDir()
	if _, err := extproc.Listen(o, slog.New(slog.DiscardHandler), nil); err == nil {
		t.Error("a folder without certificates was accepted")
	}
	o.CertPath, o.BindAddress = "", "192.0.2.1"
	if _, err := extproc.Listen(o, slog.New(slog.DiscardHandler), nil); err == nil {
		t.Error("a foreign address was accepted")
	}
}
