package statelog

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Table has what one partition says, by name, during one leadership: it is loaded, then
// served, and resigned when the leadership ends. The zero Table is being loaded.
//
// Safe for concurrent use. Nothing but what is said here is called with its lock held.
type Table[V any] struct {
	mu     sync.RWMutex
	phase  phase
	values map[string]*V
}

type phase int8

const (
	loading phase = iota
	serving
	resigned
)

// check returns why nothing is served. mu is held.
func (t *Table[V]) check() error {
	switch t.phase {
	case loading:
		return kerr.CoordinatorLoadInProgress
	case resigned:
		return kerr.NotCoordinator
	}
	return nil
}

// Get returns a value, nil if there is none of that name. Errors are
// kerr.CoordinatorLoadInProgress and NotCoordinator.
func (t *Table[V]) Get(name string) (*V, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.check(); err != nil {
		return nil, err
	}
	return t.values[name], nil
}

// GetOrAdd returns a value, which create makes if there is none of that name: with the
// lock held. Errors are those of Get and create.
func (t *Table[V]) GetOrAdd(name string, create func() (*V, error)) (*V, error) {
	if v, err := t.Get(name); v != nil || err != nil {
		return v, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(); err != nil {
		return nil, err
	}
	if v := t.values[name]; v != nil {
		return v, nil
	}
	v, err := create()
	if err != nil {
		return nil, err
	}
	t.values[name] = v
	return v, nil
}

// Remove removes a value, unless another has its name by now.
func (t *Table[V]) Remove(name string, v *V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.values[name] == v {
		delete(t.values, name)
	}
}

// All returns the values, in no order; none while nothing is served.
func (t *Table[V]) All() []*V {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.phase != serving {
		return nil
	}
	list := make([]*V, 0, len(t.values))
	for _, v := range t.values {
		list = append(list, v)
	}
	return list
}

// Loading reports whether the partition is still being loaded.
func (t *Table[V]) Loading() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.phase == loading
}

// WhileLed calls f while the leadership cannot end, unless it has: then the error is
// kerr.NotCoordinator.
func (t *Table[V]) WhileLed(f func()) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.phase == resigned {
		return kerr.NotCoordinator
	}
	f()
	return nil
}

// Publish has what was loaded served, and keeps the map. It returns false if the
// leadership has ended meanwhile.
func (t *Table[V]) Publish(values map[string]*V) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase != loading {
		return false
	}
	t.phase, t.values = serving, values
	return true
}

// Resign has nothing served any more, and returns what was.
func (t *Table[V]) Resign() map[string]*V {
	t.mu.Lock()
	defer t.mu.Unlock()
	values := t.values
	t.phase, t.values = resigned, nil
	return values
}
