package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nobody is the user of the images, by number so that runAsNonRoot can tell.
const nobody = "65532:65532"

// images makes one OCI archive (an image layout in a tar, as skopeo, podman and
// crane read it) for each program: a static binary and nothing else, for
// linux/amd64 and linux/arm64.
type images struct{ bin, out string }

func (i images) write(programs []string) error {
	if len(programs) == 0 {
		return errors.New("images needs the names of programs")
	}
	if err := os.MkdirAll(i.out, 0o755); err != nil {
		return err
	}
	for _, program := range programs {
		index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
		for _, arch := range []string{"amd64", "arm64"} {
			image, err := i.image(program, arch)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", program, arch, err)
			}
			index = mutate.AppendManifests(index, mutate.IndexAddendum{
				Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
			})
		}
		digest, err := index.Digest()
		if err != nil {
			return err
		}
		path := filepath.Join(i.out, program+".tar")
		if err := writeLayout(path, index); err != nil {
			return err
		}
		fmt.Println(digest, path)
	}
	return nil
}

// image holds one program at /PROGRAM, which it starts.
func (i images) image(program, arch string) (v1.Image, error) {
	var packed bytes.Buffer
	archive := tar.NewWriter(&packed)
	if err := addFile(archive, filepath.Join(i.bin, "linux_"+arch, program), program); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", arch
	file.Config = v1.Config{Entrypoint: []string{"/" + program}, User: nobody, WorkingDir: "/"}
	return mutate.ConfigFile(image, file)
}

// writeLayout writes the layout into a folder beside path and packs it in the
// order of names.
func writeLayout(path string, index v1.ImageIndex) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), "layout-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := to.AppendIndex(index); err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(out)
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		return addFile(archive, file, filepath.ToSlash(name))
	})
	return errors.Join(err, archive.Close(), out.Close())
}
