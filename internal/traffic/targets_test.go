package traffic

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryFuzzTargetHasARealSeed: fuzzing that starts from made-up bytes alone
// seldom gets past the first check of a decoder. Each target of the module must come,
// by way of the functions and variables of its package's tests, to the recorded
// frames or to a file in testdata.
func TestEveryFuzzTargetHasARealSeed(t *testing.T) {
	const root = "../.."
	packages := map[string]declarations{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name := filepath.Dir(file) + " " + tree.Name.Name // a folder may have an external test package
		if packages[name] == nil {
			packages[name] = declarations{}
		}
		packages[name].add(tree)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	targets := 0
	for name, all := range packages {
		for fn := range all {
			if strings.HasPrefix(fn, "Fuzz") {
				targets++
				if !all.reachReal(fn, map[string]bool{}) {
					t.Errorf("%s of %s has no seed that a real client, broker or ZooKeeper has written", fn, strings.TrimPrefix(name, root+"/"))
				}
			}
		}
	}
	if targets < 40 {
		t.Errorf("found only %d fuzz targets", targets)
	}
}

// declarations are what a package declares at its top level, by name.
type declarations map[string][]ast.Node

func (d declarations) add(file *ast.File) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv != nil {
				continue
			}
			d[decl.Name.Name] = append(d[decl.Name.Name], decl)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if values, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range values.Names {
						d[name.Name] = append(d[name.Name], values)
					}
				}
			}
		}
	}
}

// reachReal reports whether a declaration uses this package or names testdata, or
// uses another one that does.
func (d declarations) reachReal(name string, seen map[string]bool) bool {
	if seen[name] {
		return false
	}
	seen[name] = true
	real := false
	for _, node := range d[name] {
		ast.Inspect(node, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					real = real || x.Name == "traffic" || d.reachReal(x.Name, seen)
					return false
				}
			case *ast.BasicLit:
				real = real || n.Kind == token.STRING && strings.Contains(n.Value, "testdata")
			case *ast.Ident:
				real = real || d.reachReal(n.Name, seen)
			}
			return !real
		})
	}
	return real
}
