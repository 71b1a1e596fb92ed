//go:build withoutchecks

package mls_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWithoutChecks builds the package with a mark at every condition that refuses something, and lets TestMarkedChecks take them out,
// one after the other.
func TestWithoutChecks(t *testing.T) {
	dir := t.TempDir()
	m := &marker{places: []string{""}}
	replaced := make(map[string]string)
	files := must(filepath.Glob("*.go"))(t)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		out := filepath.Join(dir, name)
		if err := os.WriteFile(out, m.mark(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[must(filepath.Abs(name))(t)] = out
	}
	marks := filepath.Join(dir, "marks.go")
	if err := os.WriteFile(marks, m.source(), 0o600); err != nil {
		t.Fatal(err)
	}
	replaced[must(filepath.Abs("marks.go"))(t)] = marks
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, must(json.Marshal(map[string]any{"Replace": replaced}))(t), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("go", "test", "-overlay", overlay, "-tags", "markedchecks", "-run", "^TestMarkedChecks$", "-v", "-timeout", "20m", ".")
	output, err := command.CombinedOutput()
	t.Logf("%d checks\n%s", len(m.places)-1, output)
	if err != nil {
		t.Fatal(err)
	}
}

// marker puts marks into source files.
type marker struct {
	places []string // of the marks, by number from 1
}

// source is a file that the marked package needs.
func (m *marker) source() []byte {
	return fmt.Appendf(nil, `package mls

// WithoutCheck is the mark whose condition is taken out, and CheckHits are those that have been true.
var (
	WithoutCheck int
	CheckHits    []int
	CheckPlaces  = %#v
)

func marked(n int, refuses bool) bool {
	if refuses {
		CheckHits = append(CheckHits, n)
	}
	return refuses && n != WithoutCheck
}
`, m.places)
}

// mark returns a file with its conditions marked: marked(n, condition).
func (m *marker) mark(t *testing.T, name string) []byte {
	source := must(os.ReadFile(name))(t)
	fset := token.NewFileSet()
	file := must(parser.ParseFile(fset, name, source, 0))(t)
	type edit struct {
		at   int
		text string
	}
	var edits []edit
	wrap := func(e ast.Expr) {
		from, to := fset.Position(e.Pos()), fset.Position(e.End())
		m.places = append(m.places, fmt.Sprintf("%s:%d: %s", name, from.Line, source[from.Offset:to.Offset]))
		edits = append(edits, edit{from.Offset, fmt.Sprintf("marked(%d, ", len(m.places)-1)}, edit{to.Offset, ")"})
	}
	last := make(map[ast.Stmt]bool) // of a function: without its default there would be nothing to return
	function := ""
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			function = n.Name.Name
			if end := len(n.Body.List); end > 0 {
				last[n.Body.List[end-1]] = true
			}
		case *ast.TypeSwitchStmt:
			if d := defaultOf(n.Body); d != nil && !last[n] {
				m.places = append(m.places, fmt.Sprintf("%s:%d: default", name, fset.Position(d.Pos()).Line))
				edits = append(edits, edit{fset.Position(d.Pos()).Offset, fmt.Sprintf("if marked(%d, true) { ", len(m.places)-1)},
					edit{fset.Position(d.End()).Offset, "}"})
			}
		case *ast.IfStmt:
			if refuses(n.Body.List) && function != "LastResort" { // whose false refuses nothing
				wrap(n.Cond)
			}
		case *ast.SwitchStmt:
			for _, c := range n.Body.List {
				if clause := c.(*ast.CaseClause); n.Tag == nil && refuses(clause.Body) {
					for _, e := range clause.List {
						wrap(e)
					}
				}
			}
		}
		return true
	})
	slices.SortStableFunc(edits, func(a, b edit) int { return b.at - a.at })
	for _, e := range edits {
		source = slices.Insert(source, e.at, []byte(e.text)...)
	}
	return source
}

// defaultOf is the statement of a default that refuses; nil where there is none.
func defaultOf(body *ast.BlockStmt) ast.Stmt {
	for _, c := range body.List {
		if clause := c.(*ast.CaseClause); clause.List == nil && len(clause.Body) == 1 && refuses(clause.Body) {
			return clause.Body[0]
		}
	}
	return nil
}

// refuses reports whether statements, themselves, refuse something: they return an error that is made there, return false, or fail a
// Reader.
func refuses(list []ast.Stmt) bool {
	return slices.ContainsFunc(list, func(s ast.Stmt) bool {
		switch s := s.(type) {
		case *ast.ReturnStmt:
			return slices.ContainsFunc(s.Results, makesError)
		case *ast.AssignStmt:
			call, ok := s.Rhs[0].(*ast.CallExpr)
			return ok && makesError(call)
		case *ast.ExprStmt:
			call, ok := s.X.(*ast.CallExpr)
			if !ok {
				return false
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			return ok && selector.Sel.Name == "Fail"
		default:
			return false
		}
	})
}

func makesError(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "false"
	case *ast.UnaryExpr:
		literal, ok := e.X.(*ast.CompositeLit)
		if !ok {
			return false
		}
		name, ok := literal.Type.(*ast.Ident)
		return ok && strings.HasSuffix(name.Name, "Error")
	case *ast.CallExpr:
		switch f := e.Fun.(type) {
		case *ast.Ident:
			return isMaker(f.Name)
		case *ast.SelectorExpr:
			return isMaker(f.Sel.Name)
		}
	}
	return false
}

// isMaker reports whether a function is one of those that make a refusal.
func isMaker(name string) bool {
	return strings.HasPrefix(name, "invalid") || name == "malformed" || name == "section"
}
