package statelog

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A table serves nothing before it is loaded, nor after its leadership has ended.
func TestTable(t *testing.T) {
	var table Table[int]
	made := 0
	create := func() (*int, error) { made++; return new(int), nil }
	refused := func(want error) {
		t.Helper()
		if _, err := table.Get("a"); err != want {
			t.Errorf("get: %v, want %v", err, want)
		}
		if _, err := table.GetOrAdd("a", create); err != want {
			t.Errorf("add: %v, want %v", err, want)
		}
		if len(table.All()) > 0 || made > 0 {
			t.Error("it serves")
		}
	}
	refused(kerr.CoordinatorLoadInProgress)
	if !table.Loading() || table.WhileLed(func() {}) != nil {
		t.Error("it is not being loaded")
	}
	loaded := 7
	if !table.Publish(map[string]*int{"a": &loaded}) || table.Loading() {
		t.Error("it is not served")
	}
	if v, err := table.GetOrAdd("a", create); v != &loaded || err != nil || made > 0 {
		t.Errorf("what was loaded: %v, %v", v, err)
	}
	if v, err := table.Get("b"); v != nil || err != nil {
		t.Errorf("what is not there: %v, %v", v, err)
	}
	full := errors.New("full")
	if _, err := table.GetOrAdd("b", func() (*int, error) { return nil, full }); err != full {
		t.Errorf("without room: %v", err)
	}
	b, err := table.GetOrAdd("b", create)
	if again, _ := table.GetOrAdd("b", create); err != nil || again != b || made != 1 || len(table.All()) != 2 {
		t.Errorf("added: %v, %v", b, err)
	}
	table.Remove("a", b)
	table.Remove("b", b)
	if all := table.All(); len(all) != 1 || all[0] != &loaded {
		t.Errorf("after b was removed: %v", all)
	}
	if values := table.Resign(); len(values) != 1 {
		t.Errorf("resigned with %v", values)
	}
	made = 0
	refused(kerr.NotCoordinator)
	called := false
	if err := table.WhileLed(func() { called = true }); err != kerr.NotCoordinator || called {
		t.Errorf("after the end: %v", err)
	}
	if table.Publish(map[string]*int{"a": &loaded}) {
		t.Error("a load that is late is served")
	}
}
