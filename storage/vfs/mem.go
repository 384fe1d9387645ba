package vfs

import (
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that knows which part of it is durable.
//
// Every file has two contents, the one that readers see and the one on the
// imagined disk, and between them the list of writes and truncations that no
// Sync has made durable yet. Every directory likewise has its names, its names
// on disk, and between them the creations, removals and renames that no SyncDir
// has made durable. [Mem.Crash] draws from these lists. POSIX is taken at its
// word: syncing a file does not make its name durable, and unsynced operations
// may survive in any combination.
//
// Names are slash-separated; "a", "/a" and "./a" are the same. One mutex guards
// everything: the type is meant for tests.
type Mem struct {
	mu            sync.Mutex
	root          *memNode
	pending       []nameOp // unsynced operations on names, oldest first
	locks         map[*memNode]bool
	open          int
	usable, total int64
	capacity      int64 // bytes, if limited
	used          int64 // bytes of blocks, see mem_space.go
	limited       bool
}

// memNode is a file or a directory. A file that was removed lives on as long as
// somebody has it open.
type memNode struct {
	perm  fs.FileMode
	mtime time.Time
	links int // names that it has
	opens int // times that it is open

	names, disk map[string]*memNode // of a directory: as seen, and as durable

	data, durable content  // of a file: as seen, and as durable
	unsynced      []dataOp // what leads from durable to data, oldest first
}

// nameOp is one change of a directory, or of two for a rename.
type nameOp struct {
	dir     *memNode
	removed string // name that went away, "" if none
	to      *memNode
	added   string // name that appeared in to, "" if none
	node    *memNode
}

// dataOp is a write (data set), a truncation to off, or an allocation up to off.
type dataOp struct {
	off      int64
	data     []byte
	allocate bool
}

// NewMem returns an empty file system with 1 TiB of space.
func NewMem() *Mem {
	return &Mem{root: newMemDir(), locks: map[*memNode]bool{}, usable: 1 << 40, total: 1 << 40}
}

func newMemDir() *memNode {
	return &memNode{perm: fs.ModeDir | 0o755, mtime: time.Now(), names: map[string]*memNode{}, disk: map[string]*memNode{}}
}

func (n *memNode) isDir() bool { return n.names != nil }

// SetSpace sets what Space returns of a file system without SetCapacity; it does
// not limit anything.
func (m *Mem) SetSpace(usable, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.usable, m.total = usable, total
}

// OpenFiles is the number of files that are open now.
func (m *Mem) OpenFiles() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

func clean(name string) string { return path.Clean("/" + name) }

// find returns the node of a name, nil if there is none.
func (m *Mem) find(name string) *memNode {
	n := m.root
	for part := range strings.SplitSeq(strings.TrimPrefix(clean(name), "/"), "/") {
		if part == "" {
			continue
		}
		if !n.isDir() || n.names[part] == nil {
			return nil
		}
		n = n.names[part]
	}
	return n
}

// parent returns the directory of a name, nil if there is none.
func (m *Mem) parent(name string) (dir *memNode, base string) {
	d, base := path.Split(clean(name))
	dir = m.find(d)
	if dir != nil && !dir.isDir() {
		dir = nil
	}
	return dir, base
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func (m *Mem) add(dir *memNode, name string, node *memNode) {
	m.used += nameCost(len(dir.names))
	dir.names[name] = node
	node.links++
	m.pending = append(m.pending, nameOp{dir: dir, to: dir, added: name, node: node})
}

func (m *Mem) drop(dir *memNode, name string) {
	node := dir.names[name]
	delete(dir.names, name)
	m.used -= nameCost(len(dir.names))
	m.unlink(node)
	m.pending = append(m.pending, nameOp{dir: dir, removed: name, to: dir, node: node})
}

func (m *Mem) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base := m.parent(name)
	if dir == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	node := dir.names[base]
	switch {
	case node == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, fs.ErrNotExist)
	case node != nil && flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, pathError("open", name, fs.ErrExist)
	case node != nil && node.isDir():
		return nil, pathError("open", name, syscall.EISDIR)
	case node == nil && !m.fits(nameCost(len(dir.names))):
		return nil, pathError("open", name, ErrNoSpace)
	case node == nil:
		node = &memNode{perm: perm, mtime: time.Now()}
		m.add(dir, base, node)
	}
	f := &memFile{fs: m, node: node, name: name, writable: flag&(os.O_WRONLY|os.O_RDWR) != 0, readable: flag&os.O_WRONLY == 0}
	if flag&os.O_TRUNC != 0 && f.writable && node.data.size > 0 {
		m.truncate(node, 0)
	}
	m.open++
	node.opens++
	return f, nil
}

func (m *Mem) MkdirAll(name string, perm fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for part := range strings.SplitSeq(strings.TrimPrefix(clean(name), "/"), "/") {
		if part == "" {
			continue
		}
		next := n.names[part]
		if next == nil {
			if !m.fits(nameCost(len(n.names)) + pageSize) {
				return pathError("mkdir", name, ErrNoSpace)
			}
			next = newMemDir()
			m.add(n, part, next)
			m.used += pageSize
		} else if !next.isDir() {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base := m.parent(name)
	if dir == nil || dir.names[base] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if n := dir.names[base]; n.isDir() && len(n.names) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.drop(dir, base)
	return nil
}

func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base := m.parent(name)
	if dir != nil && dir.names[base] != nil {
		m.removeTree(dir, base)
	}
	return nil
}

func (m *Mem) removeTree(dir *memNode, name string) {
	node := dir.names[name]
	for _, child := range slices.Sorted(maps.Keys(node.names)) {
		m.removeTree(node, child)
	}
	m.drop(dir, name)
}

func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail := func(err error) error {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
	}
	from, oldBase := m.parent(oldName)
	to, newBase := m.parent(newName)
	if from == nil || to == nil || from.names[oldBase] == nil {
		return fail(fs.ErrNotExist)
	}
	node, there := from.names[oldBase], to.names[newBase]
	switch {
	case node == there:
		return nil
	case there != nil && there.isDir() && !node.isDir():
		return fail(syscall.EISDIR)
	case there != nil && there.isDir() && len(there.names) > 0:
		return fail(fs.ErrExist)
	case there != nil && !there.isDir() && node.isDir():
		return fail(syscall.ENOTDIR)
	}
	// The new name is there before the old one goes.
	if there == nil && !m.fits(nameCost(len(to.names))) {
		return fail(ErrNoSpace)
	}
	if there != nil {
		m.unlink(there)
	} else {
		m.used += nameCost(len(to.names))
	}
	to.names[newBase] = node
	delete(from.names, oldBase)
	m.used -= nameCost(len(from.names))
	m.pending = append(m.pending, nameOp{dir: from, removed: oldBase, to: to, added: newBase, node: node})
	return nil
}

func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(name)
	if n == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	if !n.isDir() {
		return nil, pathError("readdir", name, syscall.ENOTDIR)
	}
	entries := make([]fs.DirEntry, 0, len(n.names))
	for _, base := range slices.Sorted(maps.Keys(n.names)) {
		entries = append(entries, fs.FileInfoToDirEntry(n.names[base].info(base)))
	}
	return entries, nil
}

func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(name)
	if n == nil {
		return nil, pathError("stat", name, fs.ErrNotExist)
	}
	return n.info(path.Base(clean(name))), nil
}

func (m *Mem) SetModTime(name string, modified time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(name)
	if n == nil {
		return pathError("chtimes", name, fs.ErrNotExist)
	}
	n.mtime = modified
	return nil
}

func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := m.find(name)
	if dir == nil || !dir.isDir() {
		return pathError("sync", name, fs.ErrNotExist)
	}
	m.pending = slices.DeleteFunc(m.pending, func(op nameOp) bool {
		if op.dir != dir && op.to != dir {
			return false
		}
		op.apply(func(n *memNode) map[string]*memNode { return n.disk })
		return true
	})
	return nil
}

// apply does the operation to the names that names returns for a directory. A
// rename is one operation, as in any file system with a journal.
func (op nameOp) apply(names func(dir *memNode) map[string]*memNode) {
	if op.removed != "" && names(op.dir)[op.removed] == op.node {
		delete(names(op.dir), op.removed)
	}
	if op.added != "" {
		names(op.to)[op.added] = op.node
	}
}

func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	mf := f.(*memFile)
	m.mu.Lock()
	locked := m.locks[mf.node]
	m.locks[mf.node] = true
	m.mu.Unlock()
	if locked {
		f.Close()
		return nil, pathError("lock", name, ErrLocked)
	}
	return &memLock{mf}, nil
}

type memLock struct{ *memFile }

func (l *memLock) Close() error {
	l.fs.mu.Lock()
	delete(l.fs.locks, l.node)
	l.fs.mu.Unlock()
	return l.memFile.Close()
}

// WriteBack makes nothing durable, for that is what the caller must not count on.
func (m *Mem) WriteBack(string) error { return nil }

func (m *Mem) Space(name string) (usable, total int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.find(name) == nil {
		return 0, 0, pathError("statfs", name, fs.ErrNotExist)
	}
	if m.limited {
		return max(0, m.capacity-m.used), m.capacity, nil
	}
	return m.usable, m.total, nil
}
