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

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

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

// Files that are moved in place may have been written at the same time.
func TestAnotherFileOfTheSameTimeIsRead(t *testing.T) {
	t.Parallel()
	folder, next, start := t.TempDir(), t.TempDir(), time.Now()
	writeCert(t, folder, "first", start)
	writeCert(t, next, "second", start)
	s := serve(t, func(o *extproc.Options) { o.SecureServing, o.CertPath = true, folder })
	for _, file := range []string{"tls.crt", "tls.key"} {
		if err := os.Rename(filepath.Join(next, file), filepath.Join(folder, file)); err != nil {
			t.Fatal(err)
		}
		presented(t, s) // half of the pair does no harm
	}
	if got := presented(t, s); got != "second" {
		t.Errorf("got %q", got)
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

// shake makes one health call with the client's configuration.
func shake(t *testing.T, s *served, config *tls.Config) error {
	t.Helper()
	address, _, _ := s.Addresses()
	config.InsecureSkipVerify, config.NextProtos = true, []string{"h2"}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	return err
}

func TestTLSVersionsAndClients(t *testing.T) {
	t.Parallel()
	start := time.Now()
	folder, clients, strangers := t.TempDir(), t.TempDir(), t.TempDir()
	writeCert(t, folder, "server", start)
	writeCert(t, clients, "gateway", start)
	writeCert(t, strangers, "stranger", start)
	load := func(folder string) []tls.Certificate {
		pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{pair}
	}
	friend, stranger := load(clients), load(strangers)
	authorities := filepath.Join(clients, "tls.crt") // each certificate is its own authority
	tests := map[string]struct {
		certPath, minVersion, ca string
		client                   *tls.Config
		ok                       bool
	}{
		"certificate files want TLS 1.3":           {folder, "", "", &tls.Config{MaxVersion: tls.VersionTLS12}, false},
		"certificate files speak TLS 1.3":          {folder, "", "", &tls.Config{}, true},
		"certificate files with 1.2 let in":        {folder, "1.2", "", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		"self-signed lets TLS 1.2 in":              {"", "", "", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		"self-signed can want TLS 1.3":             {"", "1.3", "", &tls.Config{MaxVersion: tls.VersionTLS12}, false},
		"TLS 1.1 is never let in":                  {"", "1.2", "", &tls.Config{MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, false},
		"a client of the authorities is let in":    {folder, "", authorities, &tls.Config{Certificates: friend}, true},
		"a client without a certificate is not":    {folder, "", authorities, &tls.Config{}, false},
		"a client of another authority is not":     {folder, "", authorities, &tls.Config{Certificates: stranger}, false},
		"without authorities any client is let in": {folder, "", "", &tls.Config{Certificates: stranger}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(o *extproc.Options) {
				o.SecureServing, o.CertPath, o.TLSMinVersion, o.ClientCAFile = true, tt.certPath, tt.minVersion, tt.ca
			})
			if err := shake(t, s, tt.client.Clone()); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestClientAuthoritiesFollowTheirFile(t *testing.T) {
	t.Parallel()
	folder, clients, start := t.TempDir(), t.TempDir(), time.Now()
	writeCert(t, clients, "first", start)
	pair, err := tls.LoadX509KeyPair(filepath.Join(clients, "tls.crt"), filepath.Join(clients, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	writeCert(t, folder, "server", start)
	s := serve(t, func(o *extproc.Options) {
		o.SecureServing, o.CertPath, o.ClientCAFile = true, folder, filepath.Join(clients, "tls.crt")
	})
	if err := shake(t, s, &tls.Config{Certificates: []tls.Certificate{pair}}); err != nil {
		t.Errorf("before: %v", err)
	}
	writeCert(t, clients, "second", start.Add(time.Second))
	if err := shake(t, s, &tls.Config{Certificates: []tls.Certificate{pair}}); err == nil {
		t.Error("a client of a former authority was let in")
	}
}
