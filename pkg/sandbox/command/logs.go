package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

// maxTail bounds how much of a log's end is read to find its last lines.
const maxTail = 1 << 20

func (c *cli) logs() *cobra.Command {
	var follow bool
	var lines int
	cmd := &cobra.Command{
		Use:   "logs [COMPONENT | POD]",
		Short: "Print the log of a component or of Pods, or list what there is",
		Example: `  kubectl infer sandbox logs
  kubectl infer sandbox logs envoy
  kubectl infer sandbox logs qwen-v1 -f`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			state, err := c.find()
			if err != nil {
				return err
			}
			all, err := logFiles(state.Folder)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				for _, l := range all {
					fmt.Fprintln(c.Out, l.name)
				}
				return nil
			}
			chosen := choose(all, args[0])
			if len(chosen) == 0 {
				return hint.Errorf("kubectl infer sandbox logs lists what there is", "no log of %q in sandbox %q", args[0], state.Name)
			}
			return c.printLogs(cmd.Context(), chosen, lines, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing what is added")
	cmd.Flags().IntVar(&lines, "tail", -1, "last lines to print, within the last MiB; -1 is all")
	return cmd
}

// logFile is one log; name is COMPONENT or NAMESPACE/POD/CONTAINER.
type logFile struct{ name, path string }

func logFiles(folder sandbox.Folder) ([]logFile, error) {
	var all []logFile
	for _, dir := range []string{folder.Logs(), folder.PodLogs()} {
		entries, err := os.ReadDir(dir)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list logs: %w", err)
		}
		for _, e := range entries {
			name, isLog := strings.CutSuffix(e.Name(), ".log")
			if access, ok := strings.CutSuffix(e.Name(), ".json"); ok {
				name, isLog = access, true
			}
			if isLog {
				all = append(all, logFile{name: strings.ReplaceAll(name, "_", "/"), path: filepath.Join(dir, e.Name())})
			}
		}
	}
	return all, nil
}

// choose finds a component by its name, and Pods by name, namespace/name, or
// the name of their Deployment.
func choose(all []logFile, word string) []logFile {
	name := strings.TrimPrefix(strings.TrimPrefix(word, "deployment/"), "pod/")
	return slices.DeleteFunc(slices.Clone(all), func(l logFile) bool {
		parts := strings.Split(l.name, "/")
		if len(parts) < 3 {
			return l.name != word
		}
		pod := parts[1]
		return name != pod && name != parts[0]+"/"+pod && name != l.name && name != deploymentOf(pod)
	})
}

// deploymentOf cuts the hash and the random part off a Pod's name.
func deploymentOf(pod string) string {
	parts := strings.Split(pod, "-")
	return strings.Join(parts[:max(0, len(parts)-2)], "-")
}

func (c *cli) printLogs(ctx context.Context, logs []logFile, lines int, follow bool) error {
	offsets := make([]int64, len(logs))
	for i, l := range logs {
		if len(logs) > 1 {
			fmt.Fprintf(c.Out, "==> %s <==\n", l.name)
		}
		text, size, err := readLog(l.path, lines)
		if err != nil {
			return fmt.Errorf("read log of %s: %w", l.name, err)
		}
		if _, err := c.Out.Write(text); err != nil {
			return err
		}
		offsets[i] = size
	}
	tick := time.NewTicker(4 * poll)
	defer tick.Stop()
	for follow {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for i, l := range logs {
			next, err := c.printFrom(l.path, offsets[i])
			if os.IsNotExist(err) {
				return nil // the sandbox went down
			}
			if err != nil {
				return fmt.Errorf("follow log of %s: %w", l.name, err)
			}
			offsets[i] = next
		}
	}
	return nil
}

// readLog returns the last lines of a log, all of it for -1, and its size.
func readLog(path string, lines int) ([]byte, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	size := info.Size()
	if lines < 0 {
		text, err := io.ReadAll(io.LimitReader(file, size))
		return text, size, err
	}
	start := max(0, size-maxTail)
	text, err := io.ReadAll(io.NewSectionReader(file, start, size-start))
	return lastLines(text, lines), size, err
}

func lastLines(text []byte, n int) []byte {
	end := len(text)
	if end > 0 && text[end-1] == '\n' {
		end--
	}
	for i := end; n > 0; n-- {
		if i = bytes.LastIndexByte(text[:i], '\n'); i < 0 {
			return text
		}
		if n == 1 {
			return text[i+1:]
		}
	}
	return nil
}

// printFrom prints what was added after offset; a log that was emptied begins anew.
func (c *cli) printFrom(path string, offset int64) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() < offset {
		offset = 0
	}
	n, err := io.Copy(c.Out, io.NewSectionReader(file, offset, info.Size()-offset))
	return offset + n, err
}
