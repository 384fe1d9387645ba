package vfs

// SetCapacity limits the file system to so many bytes of blocks: 4 KiB for every
// piece of a file that was written or allocated, for every directory, and for
// every few names in one, as in ext4. What needs a block beyond fails with
// ErrNoSpace; a write then has written as much as there was room for. Renames may
// need a block, removals and truncations never do. A file that was removed takes
// up room as long as it is open.
//
// The capacity may be less than what is used already.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity, m.limited = bytes, true
}

// Used is the number of bytes of blocks that are in use.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// namesPerBlock is how many names of a directory share a block.
const namesPerBlock = 16

// nameCost is what one more name costs in a directory that has n, in bytes.
func nameCost(n int) int64 {
	if n > 0 && n%namesPerBlock == 0 {
		return pageSize
	}
	return 0
}

// fits reports whether there is room for so many bytes of blocks more.
func (m *Mem) fits(bytes int64) bool {
	return bytes == 0 || !m.limited || m.used+bytes <= m.capacity
}

// roomFor returns how many of n bytes can be written at off.
func (m *Mem) roomFor(node *memNode, n int, off int64) int {
	if !m.limited {
		return n
	}
	missing := int64(0)
	for at := off; at < off+int64(n); at += pageSize - at%pageSize {
		if node.data.pages[at/pageSize] == nil {
			if missing += pageSize; !m.fits(missing) {
				return int(at - off)
			}
		}
	}
	return n
}

// blocks is what the content of a file takes up, in bytes.
func (c *content) blocks() int64 { return int64(len(c.pages)) * pageSize }

// allocate gives the file the blocks up to size for which there is room, and
// reports whether that was all.
func (m *Mem) allocate(node *memNode, size int64) bool {
	room := int64(m.roomFor(node, int(size), 0))
	before := node.data.blocks()
	op := dataOp{off: room, allocate: true}
	op.apply(&node.data)
	m.used += node.data.blocks() - before
	node.unsynced = append(node.unsynced, op)
	return room == size
}

// unlink takes a name away from a file or directory, and its blocks with the
// last one.
func (m *Mem) unlink(node *memNode) {
	node.links--
	if node.isDir() {
		m.used -= pageSize
		return
	}
	m.free(node)
}

// free gives back the blocks of a file that nobody can reach any more.
func (m *Mem) free(node *memNode) {
	if node.links == 0 && node.opens == 0 {
		m.used -= node.data.blocks()
	}
}

// recount counts links and blocks of a tree that was made as a whole.
func (m *Mem) recount(dir *memNode) {
	for i := range len(dir.names) {
		m.used += nameCost(i)
	}
	for _, n := range dir.names {
		n.links++
		switch {
		case n.isDir():
			m.used += pageSize
			m.recount(n)
		case n.links == 1:
			m.used += n.data.blocks()
		}
	}
}
