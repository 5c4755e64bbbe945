package dataplane

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
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tls13 is what a gateway must say to speak TLS 1.3: Envoy 1.40 offers its
// upstreams TLS 1.2 at most unless it is configured, the reason for the default of
// --tls-min-version.
const tls13 = ", tls_params: {tls_maximum_protocol_version: TLSv1_3}"

func TestTLSBetweenEnvoyAndTheBodyRouter(t *testing.T) {
	t.Parallel()
	server, gateway, stranger := t.TempDir(), t.TempDir(), t.TempDir()
	for serial, folder := range []string{server, gateway, stranger} {
		writeCertificate(t, folder, int64(serial))
	}
	files, authorities := "--cert-path="+server, "--client-ca-file="+filepath.Join(gateway, "tls.crt")
	for rule, row := range map[string]struct {
		args  []string
		envoy string
		code  int
	}{
		"self-signed: as the reference's charts have it":   {nil, "", http.StatusOK},
		"self-signed: TLS 1.3 is spoken where Envoy does":  {[]string{"--tls-min-version=1.3"}, tls13, http.StatusOK},
		"certificate files: an Envoy set to 1.3 is let in": {[]string{files}, tls13, http.StatusOK},
		"certificate files: TLS 1.3 only, 1.2 is refused":  {[]string{files}, "", http.StatusInternalServerError},
		"certificate files, TLS 1.2 let in":                {[]string{files, "--tls-min-version=1.2"}, "", http.StatusOK},
		"certificate files that Envoy verifies":            {[]string{files}, tls13 + trusting(server), http.StatusOK},
		"a certificate that Envoy does not trust":          {[]string{files}, tls13 + trusting(stranger), http.StatusInternalServerError},
		"client authorities: the gateway's certificate":    {[]string{files, authorities}, tls13 + showing(gateway), http.StatusOK},
		"client authorities: a stranger's certificate":     {[]string{files, authorities}, tls13 + showing(stranger), http.StatusInternalServerError},
		"client authorities: no certificate":               {[]string{files, authorities}, tls13, http.StatusInternalServerError},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t)
			router := startChild(t, append([]string{"--secure-serving=true"}, row.args...)...)
			g := startChain(t, chain{
				Routers: addresses(router.address), RouterTLS: true, TLSContext: row.envoy, RouterMode: modeBuffered, Models: []modelRoute{{"", u.address}},
			})
			got, err := g.send(g.request(http.MethodPost, "application/json", strings.NewReader(chat)))
			if err != nil || got.code != row.code {
				t.Errorf("got %d, %v, want %d", got.code, err, row.code)
			}
		})
	}
}

func trusting(folder string) string {
	return ", validation_context: {trusted_ca: {filename: " + filepath.Join(folder, "tls.crt") + "}}"
}

func showing(folder string) string {
	return fmt.Sprintf(", tls_certificates: [{certificate_chain: {filename: %s/tls.crt}, private_key: {filename: %s/tls.key}}]", folder, folder)
}

// Each request has a connection of its own, so that each sees the certificate of
// its time. Envoy trusts the old and the new one.
func TestARotatedCertificateFailsNoRequest(t *testing.T) {
	t.Parallel()
	const rotations = 4
	served, trusted := t.TempDir(), t.TempDir()
	folders := make([]string, rotations+1)
	var bundle []byte
	for serial := range folders {
		folders[serial] = t.TempDir()
		writeCertificate(t, folders[serial], int64(serial))
		text, err := os.ReadFile(filepath.Join(folders[serial], "tls.crt"))
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(bundle, text...)
	}
	if err := os.WriteFile(filepath.Join(trusted, "tls.crt"), bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	rotate := func(serial int) {
		for _, file := range []string{"tls.key", "tls.crt"} {
			if err := os.Rename(filepath.Join(folders[serial], file), filepath.Join(served, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	rotate(0)
	u, router := startUpstream(t), startChild(t, "--secure-serving=true", "--cert-path="+served)
	g := startChain(t, chain{
		Routers: addresses(router.address), RouterTLS: true, TLSContext: tls13 + trusting(trusted), OneRequestPerConnection: true,
		RouterMode: modeFullDuplex, Models: []modelRoute{{"", u.address}},
	})
	ask := func() {
		got, err := g.send(g.request(http.MethodPost, "application/json", strings.NewReader(chat)))
		if err != nil || got.code != http.StatusOK {
			t.Errorf("got %d, %v", got.code, err)
		}
	}
	for serial := 1; serial <= rotations; serial++ {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 20 {
				ask()
			}
		}()
		rotate(serial)
		eventually(t, "the new certificate is served", func() bool { return router.serial(t) == int64(serial) })
		<-done
		ask()
	}
}

// serial is the serial number of the certificate served now.
func (r *routerProcess) serial(t *testing.T) int64 {
	t.Helper()
	conn, err := tls.Dial("tcp", r.address.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func writeCertificate(t *testing.T, folder string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprint("certificate ", serial)}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, // each is its own authority
	}
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
