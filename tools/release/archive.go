package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// writeArchive packs files, each under its base name, owned by root and older
// than any clock.
func writeArchive(out string, files []string) error {
	if out == "" || len(files) == 0 {
		return errors.New("archive needs --out and at least one file")
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	to, err := os.Create(out)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(to)
	err = writeTar(zip, files)
	return errors.Join(err, zip.Close(), to.Close())
}

func writeTar(out io.Writer, files []string) error {
	archive := tar.NewWriter(out)
	for _, path := range files {
		if err := addFile(archive, path, filepath.Base(path)); err != nil {
			return err
		}
	}
	return archive.Close()
}

// addFile adds one file; anybody may run what its owner may.
func addFile(archive *tar.Writer, path, name string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it is only read
	info, err := in.Stat()
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size(), Format: tar.FormatUSTAR}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, in)
	return err
}
