package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

// command is a program that starts, says something and ends.
type command struct {
	name string
	argv []string
}

// startUp compares the plugin's start with kubectl's: both print their version and
// ask no cluster.
func startUp(ctx context.Context, bin string) ([]command, error) {
	store, err := assets.NewStore()
	if err != nil {
		return nil, err
	}
	kubectl, err := store.Find(ctx, assets.Kubectl)
	if err != nil {
		return nil, err
	}
	return []command{
		{"kubectl version --client", []string{kubectl.Path, "version", "--client"}},
		{"kubectl-infer version", []string{filepath.Join(bin, "kubectl-infer"), "version"}},
	}, nil
}

// started is the median of a command's runs, and the size of its program in bytes.
type started struct {
	wall, cpu time.Duration
	size      int64
}

// timeStarts runs the commands by turns, after one of each that does not count.
func timeStarts(ctx context.Context, commands []command, runs int) ([]started, error) {
	walls, cpus := make([][]time.Duration, len(commands)), make([][]time.Duration, len(commands))
	for turn := range runs + 1 {
		for i, c := range commands {
			cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
			began := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("%s: %w: %s", c.name, err, out)
			}
			if turn > 0 {
				walls[i] = append(walls[i], time.Since(began))
				cpus[i] = append(cpus[i], cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
			}
		}
	}
	list := make([]started, len(commands))
	for i, c := range commands {
		info, err := os.Stat(c.argv[0])
		if err != nil {
			return nil, err
		}
		slices.Sort(walls[i])
		slices.Sort(cpus[i])
		list[i] = started{wall: walls[i][runs/2], cpu: cpus[i][runs/2], size: info.Size()}
	}
	return list, nil
}

// startTable has kubectl first, and the others beside it.
func startTable(commands []command, list []started) string {
	var b strings.Builder
	b.WriteString("| | wall, ms | of kubectl's | CPU, ms | of kubectl's | program, MB |\n|---|---|---|---|---|---|\n")
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for i, s := range list {
		fmt.Fprintf(&b, "| `%s` | %.1f | %.2f | %.1f | %.2f | %.1f |\n", commands[i].name, ms(s.wall), ms(s.wall)/ms(list[0].wall),
			ms(s.cpu), ms(s.cpu)/ms(list[0].cpu), float64(s.size)/1e6)
	}
	return b.String()
}
