// Command release packs what `make build` made: archives for krew
// (archive.go), the plugin manifest from the template krew.yaml (manifest.go),
// and OCI archives of the in-cluster programs (images.go). The same input gives
// the same bytes: no clock, no machine, no user gets in.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	const usage = "usage: release archive|manifest|images [flags]; release VERB -h lists the flags"
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	var verb func([]string) error
	switch args[0] {
	case "archive":
		out := flags.String("out", "", "the .tar.gz to write; what follows the flags are the files in it")
		verb = func(files []string) error { return writeArchive(*out, files) }
	case "manifest":
		var m manifest
		flags.StringVar(&m.template, "template", "krew.yaml", "the template")
		flags.StringVar(&m.dist, "dist", "dist", "folder of the archives")
		flags.StringVar(&m.version, "version", "", "of the release, as v0.1.0")
		flags.StringVar(&m.url, "url", "", "address of the archives' folder")
		flags.StringVar(&m.out, "out", "dist/infer.yaml", "the manifest to write")
		verb = func([]string) error { return m.write() }
	case "images":
		var i images
		flags.StringVar(&i.bin, "bin", "dist/bin", "folder with OS_ARCH/PROGRAM")
		flags.StringVar(&i.out, "out", "dist/images", "folder of the OCI archives")
		verb = func(programs []string) error { return i.write(programs) }
	default:
		return errors.New(usage)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	return verb(flags.Args())
}
