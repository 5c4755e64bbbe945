package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// manifest makes a krew manifest of the template krew.yaml.
type manifest struct{ template, dist, version, url, out string }

// Archive is a platform's archive, as the template sees it.
type Archive struct{ OS, Arch, URI, SHA256, Bin string }

// archives are those of the plugin in the folder of archives:
// kubectl-infer_OS_ARCH.tar.gz, and .zip for windows.
func (m manifest) archives() ([]Archive, error) {
	var list []Archive
	for _, system := range []string{"linux", "darwin", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			a := Archive{OS: system, Arch: arch, Bin: "kubectl-infer"}
			ending := ".tar.gz"
			if system == "windows" {
				a.Bin, ending = "kubectl-infer.exe", ".zip"
			}
			name := "kubectl-infer_" + system + "_" + arch + ending
			sum, err := checksum(filepath.Join(m.dist, name))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			a.URI, a.SHA256 = strings.TrimSuffix(m.url, "/")+"/"+name, sum
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no archive kubectl-infer_OS_ARCH in %s", m.dist)
	}
	return list, nil
}

func checksum(path string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close() //nolint:errcheck // it is only read
	sum := sha256.New()
	if _, err := io.Copy(sum, in); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}

func (m manifest) write() error {
	if m.version == "" || m.url == "" {
		return errors.New("manifest needs --version and --url")
	}
	page, err := template.ParseFiles(m.template)
	if err != nil {
		return err
	}
	archives, err := m.archives()
	if err != nil {
		return err
	}
	to, err := os.Create(m.out)
	if err != nil {
		return err
	}
	err = page.Execute(to, struct {
		Version  string
		Archives []Archive
	}{m.version, archives})
	return errors.Join(err, to.Close())
}
