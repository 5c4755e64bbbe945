package main

import (
	"path/filepath"
	"testing"
)

// TestThePluginStartsLikeKubectl bounds ratios: the CPU time of a start in that of
// kubectl's, and the size of what is installed in bytes.
func TestThePluginStartsLikeKubectl(t *testing.T) {
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	commands, err := startUp(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	got, err := timeStarts(t.Context(), commands, 15)
	if err != nil {
		t.Fatalf("%v (run `make build` first)", err)
	}
	t.Logf("\n%s", startTable(commands, got))
	if ratio := float64(got[1].cpu) / float64(got[0].cpu); ratio > 1.5 {
		t.Errorf("a start takes %.2f times kubectl's CPU time", ratio)
	}
	if got[1].size > 60e6 {
		t.Errorf("the plugin has %d bytes", got[1].size)
	}
}
