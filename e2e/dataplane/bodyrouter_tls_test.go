package dataplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Envoy 1.40 offers its upstreams TLS 1.2 at most unless it is configured: the
// reason for the default of --tls-min-version.
func TestTLSVersionsThatAnUnconfiguredEnvoySpeaks(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	writeCertificate(t, folder)
	for rule, row := range map[string]struct {
		args []string
		code int
	}{
		"self-signed: as the reference's charts have it": {nil, http.StatusOK},
		"certificate files: TLS 1.3 only, refused":       {[]string{"--cert-path=" + folder}, http.StatusInternalServerError},
		"certificate files, TLS 1.2 let in":              {[]string{"--cert-path=" + folder, "--tls-min-version=1.2"}, http.StatusOK},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t)
			router := startChild(t, append([]string{"--secure-serving=true"}, row.args...)...)
			g := startChain(t, chain{
				Routers: addresses(router.address), RouterTLS: true, RouterMode: modeBuffered, Models: []modelRoute{{"", u.address}},
			})
			got, err := g.send(g.request(http.MethodPost, "application/json", strings.NewReader(chat)))
			if err != nil || got.code != row.code {
				t.Errorf("got %d, %v, want %d", got.code, err, row.code)
			}
		})
	}
}

func writeCertificate(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "router"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(folder, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
