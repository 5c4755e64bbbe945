package docs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"mvdan.cc/sh/v3/syntax"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/command"
	"github.com/kubectl-infer/kubectl-infer/plugin"
)

// pages are the project's Markdown files, by path from the root.
func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md", "CONTRIBUTING.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			found = append(found, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// snippet is a fenced block of a page: sh is a script, console a session whose
// lines after "$ " were typed, text nothing that a program reads.
type snippet struct{ page, language, text string }

func snippets(t *testing.T) []snippet {
	t.Helper()
	var all []snippet
	fence := regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	for _, page := range pages(t) {
		for _, m := range fence.FindAllStringSubmatch(read(t, page), -1) {
			all = append(all, snippet{page, m[1], m[2]})
		}
	}
	return all
}

// TestEverySnippetIsWhatItSays parses each block as its language. Commands of
// ours must be there with the flags they are given, and targets of make.
func TestEverySnippetIsWhatItSays(t *testing.T) {
	t.Parallel()
	calls := 0
	for _, s := range snippets(t) {
		switch s.language {
		case "sh":
			calls += s.script(t, s.text)
		case "console":
			for _, typed := range regexp.MustCompile(`(?m)^\$ ((?:.*\\\n)*.*)$`).FindAllStringSubmatch(s.text, -1) {
				calls += s.script(t, typed[1])
			}
		case "yaml":
			s.each(t, yaml.NewDecoder(strings.NewReader(s.text)))
		case "json":
			s.each(t, json.NewDecoder(strings.NewReader(s.text)))
		case "text":
		default:
			t.Errorf("%s: a block of language %q, which is none of sh, console, yaml, json and text:\n%s", s.page, s.language, s.text)
		}
	}
	if calls < 150 {
		t.Errorf("only %d commands of ours were found", calls)
	}
}

// each wants every document of a block to be one.
func (s snippet) each(t *testing.T, documents interface{ Decode(any) error }) {
	t.Helper()
	for {
		var document any
		err := documents.Decode(&document)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("%s: %v:\n%s", s.page, err, s.text)
			return
		}
	}
}

// script parses bash and checks the commands in it; it counts those of ours.
func (s snippet) script(t *testing.T, text string) int {
	t.Helper()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), s.page)
	if err != nil {
		t.Errorf("%v:\n%s", err, text)
		return 0
	}
	ours := 0
	syntax.Walk(file, func(node syntax.Node) bool {
		call, ok := node.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		var words []word
		for _, arg := range call.Args {
			words = append(words, wordOf(arg.Parts))
		}
		var err error
		switch {
		case words[0].text == "make":
			err = targets(t, words[1:])
		case words[0].text == "kubectl-infer":
			err, ours = known(words[1:]), ours+1
		case words[0].text == "kubectl" && len(words) > 1 && words[1].text == "infer":
			err, ours = known(words[2:]), ours+1
		}
		if err != nil {
			t.Errorf("%s: %v:\n%s", s.page, err, text)
		}
		return true
	})
	return ours
}

// word is an argument as a program gets it; open where the shell fills it in.
type word struct {
	text string
	open bool
}

func wordOf(parts []syntax.WordPart) word {
	var w word
	for _, part := range parts {
		switch p := part.(type) {
		case *syntax.Lit:
			w.text += strings.ReplaceAll(p.Value, `\`, "")
		case *syntax.SglQuoted:
			w.text += p.Value
		case *syntax.DblQuoted:
			inner := wordOf(p.Parts)
			w = word{w.text + inner.text, w.open || inner.open}
		default:
			w.open = true
		}
	}
	return w
}

func targets(t *testing.T, words []word) error {
	t.Helper()
	makefile := read(t, "Makefile")
	for _, w := range words {
		if !w.open && !strings.Contains(w.text, "=") && !strings.Contains(makefile, "\n"+w.text+":") {
			return fmt.Errorf("the Makefile has no target %s", w.text)
		}
	}
	return nil
}

// known finds the command and parses its flags. Where the shell fills in words,
// only the names of the flags are looked at.
func known(words []word) error {
	streams := genericiooptions.NewTestIOStreamsDiscard()
	top := plugin.New("kubectl infer", streams)
	if len(words) > 0 && words[0].text == "sandbox" {
		top, words = command.New(streams), words[1:]
	}
	var args []string
	for _, w := range words {
		args = append(args, w.text)
	}
	found, rest, err := top.Find(args)
	if err != nil {
		return err
	}
	if !found.Runnable() && !slices.Contains(rest, "--help") && len(rest) > 0 {
		return fmt.Errorf("%s has no command %s", found.CommandPath(), rest[0])
	}
	if !slices.ContainsFunc(words, func(w word) bool { return w.open }) {
		if err := found.ParseFlags(rest); err != nil {
			return fmt.Errorf("%s: %w", found.CommandPath(), err)
		}
		return nil
	}
	return flagsOf(found, rest)
}

func flagsOf(cmd *cobra.Command, args []string) error {
	for _, arg := range args {
		if arg == "--" {
			break
		}
		name, _, _ := strings.Cut(arg, "=")
		if long, ok := strings.CutPrefix(name, "--"); ok && cmd.Flag(long) == nil {
			return fmt.Errorf("%s has no flag %s", cmd.CommandPath(), name)
		}
	}
	return nil
}

// TestEveryLinkInTheDocsLeadsSomewhere follows links to files and to headings.
func TestEveryLinkInTheDocsLeadsSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]*))?\)`) // not those with a scheme
	followed := 0
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			followed++
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: link to %s: %v", page, m[1], err)
			} else if m[2] != "" && !slices.Contains(anchors(read(t, target)), m[2]) {
				t.Errorf("%s: %s has no heading #%s", page, target, m[2])
			}
		}
	}
	if followed < 60 {
		t.Errorf("only %d links were found", followed)
	}
}

// anchors are the headings of a page as GitHub names them.
func anchors(page string) []string {
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found = append(found, strings.ReplaceAll(name, " ", "-"))
	}
	return found
}
