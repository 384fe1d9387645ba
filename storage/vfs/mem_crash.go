package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Crash returns what a power loss at this moment could leave, on a new file
// system where everything is durable and nothing is open or locked. What was
// synced is there. Each unsynced operation on a name and each unsynced
// truncation is there or not; of each unsynced write any of its sectors may be
// there, and where they are not, the file may still have grown, by zeros. rng
// decides, so that a seed repeats a crash. The Mem itself goes on, so that many
// crashes can be drawn from one moment.
//
// Disks write whole sectors of at least 512 bytes. Most files of a test would fit
// into one, so that some crashes have smaller sectors. None has fewer than five
// bytes: it could be the leader epoch of a batch and nothing else, the only field
// whose loss neither Kafka's checksum nor the fields beside it give away.
func (m *Mem) Crash(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := crash{
		rng:       rng,
		names:     map[*memNode]map[string]*memNode{},
		survivors: map[*memNode]*memNode{},
	}
	// Some crashes keep nearly everything, some nearly nothing: the extremes
	// find other faults than the even mixture.
	odds := []float64{0, 0.1, 0.5, 0.9, 1}
	c.keepName, c.keepData = odds[rng.IntN(len(odds))], odds[rng.IntN(len(odds))]
	sectors := []int64{5, 64, 512}
	c.sector = sectors[rng.IntN(len(sectors))]
	for _, op := range m.pending {
		if c.chance(c.keepName) {
			op.apply(c.namesOf)
		}
	}
	return m.successor(c.survivor(m.root))
}

// Kill returns what the end of the process leaves: all that was written, synced
// or not, on a new file system where nothing is open or locked. What was not
// durable still is not.
func (m *Mem) Kill() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	twins := map[*memNode]*memNode{}
	var twin func(n *memNode) *memNode
	twin = func(n *memNode) *memNode {
		if n == nil {
			return nil
		}
		if t, ok := twins[n]; ok {
			return t
		}
		t := &memNode{perm: n.perm, mtime: n.mtime, data: n.data.clone(), durable: n.durable.clone(), unsynced: cloneOps(n.unsynced)}
		twins[n] = t
		if n.isDir() {
			t.names, t.disk = map[string]*memNode{}, map[string]*memNode{}
			for name, child := range n.names {
				t.names[name] = twin(child)
			}
			for name, child := range n.disk {
				t.disk[name] = twin(child)
			}
		}
		return t
	}
	k := m.successor(twin(m.root))
	for _, op := range m.pending {
		op.dir, op.to, op.node = twin(op.dir), twin(op.to), twin(op.node)
		k.pending = append(k.pending, op)
	}
	return k
}

// successor is a file system of the same size with another tree.
func (m *Mem) successor(root *memNode) *Mem {
	s := &Mem{root: root, locks: map[*memNode]bool{}, usable: m.usable, total: m.total, capacity: m.capacity, limited: m.limited}
	s.recount(root)
	return s
}

// crash is one draw.
type crash struct {
	rng                *rand.Rand
	keepName, keepData float64
	sector             int64                            // bytes that are written together
	names              map[*memNode]map[string]*memNode // surviving names of each directory
	survivors          map[*memNode]*memNode
}

func (c *crash) chance(p float64) bool { return c.rng.Float64() < p }

func (c *crash) namesOf(dir *memNode) map[string]*memNode {
	names, ok := c.names[dir]
	if !ok {
		names = maps.Clone(dir.disk)
		c.names[dir] = names
	}
	return names
}

func (c *crash) survivor(n *memNode) *memNode {
	if s, ok := c.survivors[n]; ok {
		return s
	}
	s := &memNode{perm: n.perm, mtime: n.mtime}
	c.survivors[n] = s
	if n.isDir() {
		s.names, s.disk = map[string]*memNode{}, map[string]*memNode{}
		names := c.namesOf(n)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			child := c.survivor(names[name])
			s.names[name], s.disk[name] = child, child
		}
		return s
	}
	s.durable = n.durable.clone()
	for _, op := range n.unsynced {
		c.keepSome(op, &s.durable)
	}
	s.data = s.durable.clone()
	return s
}

// keepSome applies what is left of one unsynced operation: all of it, or of a
// write some of its sectors.
func (c *crash) keepSome(op dataOp, disk *content) {
	if op.data == nil {
		if c.chance(c.keepData) {
			op.apply(disk)
		}
		return
	}
	if c.chance(c.keepData * c.keepData) {
		op.apply(disk)
		return
	}
	end := op.off + int64(len(op.data))
	for at := op.off; at < end; {
		next := at + 1 + c.rng.Int64N(end-op.off)
		next = min(end, (next+c.sector-1)/c.sector*c.sector)
		if c.chance(c.keepData) {
			disk.writeAt(op.data[at-op.off:next-op.off], at)
		}
		at = next
	}
	if end > disk.size && c.chance(0.5) {
		disk.truncate(end)
	}
}
