package parley_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layer says what the packages of one directory may import of ours, and what they may not import of the rest. The longest
// matching directory counts. Test files are held to the directions between our own packages as well.
type layer struct {
	ours      []string // directories, with all below them
	forbidden []string // import paths or, with a final slash, prefixes; for files that are not tests
}

// Apply must come to the same result on every replica, so nothing that differs between nodes or moments may reach it.
var nondeterministic = []string{
	"time", "math/rand", "math/rand/v2", "crypto/rand", "os", "net", "net/", "sync", "sync/", "log", "log/",
	"github.com/hashicorp/",
}

var layers = map[string]layer{
	"mls":     {ours: []string{"mls"}, forbidden: append([]string{"net", "net/", "os", "time"}, "github.com/hashicorp/")},
	"mimi":    {ours: []string{"mls", "mimi"}, forbidden: []string{"net", "net/http", "os", "time", "github.com/hashicorp/"}},
	"fsm":     {ours: []string{"mls", "mimi", "fsm"}, forbidden: nondeterministic},
	"storage": {ours: []string{"storage"}},
	"cluster": {ours: []string{"mls", "mimi", "fsm", "storage", "cluster"}, forbidden: []string{"github.com/labstack/"}},
	"httpapi": {ours: []string{"mls", "mimi", "fsm", "httpapi"}, forbidden: []string{"github.com/hashicorp/", "github.com/cockroachdb/"}},
	"ops":     {ours: []string{"ops"}, forbidden: []string{"github.com/hashicorp/", "github.com/cockroachdb/"}},
	"cmd":     {ours: []string{"mls", "mimi", "fsm", "storage", "cluster", "httpapi", "ops", "cmd"}},
}

func TestLayering(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (path != "." && strings.HasPrefix(entry.Name(), ".") || entry.Name() == "interop" || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && filepath.Dir(path) != "." {
			files++
			checkImports(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no Go files found: the test looks in the wrong place")
	}
}

func checkImports(t *testing.T, path string) {
	t.Helper()
	root, _, _ := strings.Cut(filepath.ToSlash(path), "/")
	rules, known := layers[root]
	if !known {
		t.Errorf("%s: directory %q has no place in the layout", path, root)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	test := strings.HasSuffix(path, "_test.go") || strings.Contains(path, "test/")
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if ours, yes := strings.CutPrefix(imported, "parley/"); yes {
			to, _, _ := strings.Cut(ours, "/")
			if !slices.Contains(rules.ours, to) {
				t.Errorf("%s: %s may not import %s", path, root, imported)
			}
		} else if !test && forbids(rules.forbidden, imported) {
			t.Errorf("%s: %s may not import %s", path, root, imported)
		}
	}
}

func forbids(rules []string, imported string) bool {
	return slices.ContainsFunc(rules, func(rule string) bool {
		return imported == rule || strings.HasSuffix(rule, "/") && strings.HasPrefix(imported, rule)
	})
}

// A layering test that cannot object is none.
func TestForbids(t *testing.T) {
	for imported, want := range map[string]bool{
		"time": true, "net/http": true, "github.com/hashicorp/raft": true, "log/slog": true,
		"fmt": false, "encoding/binary": false, "crypto/sha256": false, "timer": false,
	} {
		if got := forbids(nondeterministic, imported); got != want {
			t.Errorf("%s: forbidden = %v, want %v", imported, got, want)
		}
	}
}
