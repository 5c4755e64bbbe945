package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestFunctionsAndFilesStayShort holds what CONTRIBUTING.md asks for, of tests too.
func TestFunctionsAndFilesStayShort(t *testing.T) {
	t.Parallel()
	const function, file = 70, 450
	positions, files := token.NewFileSet(), 0
	lines := func(from, to token.Pos) int { return positions.Position(to).Line - positions.Position(from).Line + 1 }
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || entry.IsDir() {
			return err
		}
		parsed, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		if n := lines(parsed.FileStart, parsed.FileEnd) - 1; n > file {
			t.Errorf("%s has %d lines", path, n)
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && lines(f.Pos(), f.End()) > function {
				t.Errorf("%s: %s has %d lines", path, f.Name.Name, lines(f.Pos(), f.End()))
			}
		}
		return nil
	})
	if err != nil || files < 300 {
		t.Errorf("%d files: %v", files, err)
	}
}
