package controller

// pending is a map that gives out its entries in the order in which their keys were
// first put. A value put for a key that waits already takes that key's place in
// line: that is how states coalesce.
type pending[K comparable, V any] struct {
	order []K // may hold keys that are gone from items; they are skipped
	items map[K]V
}

func (p *pending[K, V]) len() int { return len(p.items) }

func (p *pending[K, V]) get(k K) (V, bool) {
	v, ok := p.items[k]
	return v, ok
}

func (p *pending[K, V]) put(k K, v V) {
	if p.items == nil {
		p.items = map[K]V{}
	}
	if _, waiting := p.items[k]; !waiting {
		p.order = append(p.order, k)
	}
	p.items[k] = v
}

func (p *pending[K, V]) remove(k K) { delete(p.items, k) }

// putFront puts entries back at the head of the line, as if they had never left.
// Keys that were put meanwhile are given to merge, with the old and the new value.
func (p *pending[K, V]) putFront(entries []entry[K, V], merge func(older, newer V) V) {
	if p.items == nil {
		p.items = map[K]V{}
	}
	order := make([]K, 0, len(entries)+len(p.order))
	for _, e := range entries {
		order = append(order, e.key)
		v := e.value
		if newer, waiting := p.items[e.key]; waiting {
			v = merge(v, newer)
		}
		p.items[e.key] = v
	}
	p.order = append(order, p.order...)
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// take removes and returns at most n entries from the head of the line.
func (p *pending[K, V]) take(n int) []entry[K, V] {
	return p.takeWhile(n, func(K) bool { return true })
}

// takeWhile is take up to the first entry whose key is not ready.
func (p *pending[K, V]) takeWhile(n int, ready func(K) bool) []entry[K, V] {
	n = min(n, len(p.items))
	if n == 0 {
		return nil
	}
	taken := make([]entry[K, V], 0, n)
	for len(taken) < n {
		k := p.order[0]
		v, ok := p.items[k]
		if ok && !ready(k) {
			break
		}
		p.order = p.order[1:]
		if ok {
			taken = append(taken, entry[K, V]{k, v})
			delete(p.items, k)
		}
	}
	if len(p.items) == 0 {
		p.order = nil // lets go of what was sliced off
	}
	return taken
}
