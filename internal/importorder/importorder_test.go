// Package importorder holds the one rule about the module's structure that the
// compiler cannot hold: imports point one way.
package importorder

import (
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/gracchus-mq/gracchus"

// layers lists the packages from top to bottom. A package may import packages
// of lower layers only; packages of one layer do not import each other.
var layers = [][]string{
	{""},
	{"broker"},
	{"broker/api"},
	{"broker/fetch"},
	{"broker/server"},
	{"lag"},
	{"controller", "group", "txn", "topics"},
	{"statelog"},
	{"replica"},
	{"cluster/peer", "cluster/producerid"},
	{"cluster"},
	{"storage"},
	{"storage/cleaner"},
	{"storage/commitlog"},
	{"storage/producerstate"},
	{"zkmeta"},
	{"zkmeta/session", "zkmeta/zkserver"},
	{"zkmeta/zkproto"},
	{"config", "storage/vfs"},
	{"protocol/record"},
	{"protocol"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func TestImportsPointOneWay(t *testing.T) {
	depth := map[string]int{}
	for i, layer := range layers {
		for _, p := range layer {
			depth[p] = i
		}
	}
	for _, p := range listPackages(t) {
		from, internal := relative(p.ImportPath)
		if internal {
			continue
		}
		fromDepth, known := depth[from]
		if !known {
			t.Errorf("package %q has no place in the import order: give it one in importorder_test.go and in docs/ARCHITECTURE.md", from)
			continue
		}
		for _, imp := range p.Imports {
			if imp != module && !strings.HasPrefix(imp, module+"/") {
				continue
			}
			to, internal := relative(imp)
			if internal {
				continue
			}
			if toDepth, known := depth[to]; known && toDepth <= fromDepth {
				t.Errorf("%s imports %s: imports point downward only", from, to)
			}
		}
	}
}

// relative strips the module path; internal packages are helpers that every
// layer may use.
func relative(path string) (rel string, internal bool) {
	rel = strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	return rel, strings.HasPrefix(rel, "internal/")
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatalf("go list output: %v", err)
		}
		packages = append(packages, p)
	}
}
