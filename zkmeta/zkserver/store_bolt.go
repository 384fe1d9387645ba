package zkserver

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// ErrStoreInUse is wrapped by OpenBolt's error when another process, or this
// one, has the file open already.
var ErrStoreInUse = errors.New("store is in use")

const (
	// lockPatience is how long OpenBolt waits for a process that is just
	// ending. The lock of a killed process is gone with it.
	lockPatience = 500 * time.Millisecond
	// A file of at least compactFrom bytes of which more than half is free is
	// rewritten when it is opened: bbolt reuses pages but never shrinks a file.
	compactFrom = 16 << 20
	// growStep is how far the file grows at a time.
	growStep = 4 << 20
	// slack is what the file has ahead at least: blocks that are on the disk, so
	// that a disk that becomes full does not stop the commits of a server whose
	// content does not grow much.
	slack = 1 << 20
)

var bucketNames = map[Bucket][]byte{
	BucketMeta:     []byte("meta"),
	BucketNodes:    []byte("nodes"),
	BucketSessions: []byte("sessions"),
}

// BoltStore is a Store in one bbolt file. bbolt writes pages copy-on-write and
// then one of two meta pages, with an fsync after each, so that after a crash
// or a loss of power the file holds exactly the batches that were committed.
// The file is locked while it is open.
//
// bbolt writes into a file that grows sparsely, and finds out about a full disk
// when it has begun. Therefore the blocks are there before it needs them, as long
// as there is room; see ahead.
type BoltStore struct {
	db        *bolt.DB
	path      string
	file      vfs.File // the same file
	allocated int64    // bytes of it that have blocks
}

// OpenBolt opens the store in the file at path, or creates it; the directory
// must exist. The file is readable by its owner only: session passwords and
// the digests of credentials are in it.
func OpenBolt(path string) (*BoltStore, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := createBolt(path); err != nil {
			return nil, err
		}
	}
	db, err := openDB(path)
	if err != nil {
		return nil, err
	}
	if db, err = compactIfWorthIt(db, path); err != nil {
		return nil, err
	}
	file, err := vfs.OS().OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ZooKeeper store: %w", err), db.Close())
	}
	s := &BoltStore{db: db, path: path, file: file}
	s.ahead() // without room for it the store can be read, and may have free pages
	return s, nil
}

// ahead has blocks allocated ahead of what the store uses of its file, and reports
// whether there was room.
func (s *BoltStore) ahead() bool {
	var used int64
	if err := s.db.View(func(tx *bolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		return false
	}
	if used+slack <= s.allocated {
		return true
	}
	size := (used + slack + growStep - 1) / growStep * growStep
	if err := s.file.Allocate(size); err != nil {
		return false
	}
	s.allocated = size
	return true
}

func newFileName(path string) string { return path + ".new" }

// createBolt makes an empty store under another name and renames it when it is
// whole and durable: a loss of power while bbolt writes its first pages would
// leave a file that cannot be opened again.
func createBolt(path string) error {
	tmp := newFileName(path)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create ZooKeeper store: %w", err)
	}
	db, err := openFile(tmp)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range bucketNames {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("create ZooKeeper store %s: %w", path, err)
	}
	return renameDurably(tmp, path)
}

func renameDurably(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("put ZooKeeper store in place: %w", err)
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return fmt.Errorf("put ZooKeeper store in place: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync directory of ZooKeeper store %s: %w", to, err)
	}
	return nil
}

func openFile(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout: lockPatience,
		// The list of free pages is rebuilt when the file is opened rather
		// than rewritten with each commit; the file is small and commits
		// are what clients wait for.
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("ZooKeeper store %s: %w: another broker, or another process, has it open", path, ErrStoreInUse)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("ZooKeeper store %s is damaged or is not such a store: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("open ZooKeeper store: %w", err)
	}
	db.AllocSize = growStep
	return db, nil
}

// openDB opens the store and makes sure that it is the file that now has the
// name: another process may have replaced the file, when it compacted it,
// between our opening it and our getting the lock.
func openDB(path string) (*bolt.DB, error) {
	for range 10 {
		before, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("open ZooKeeper store: %w", err)
		}
		db, err := openFile(path)
		if err != nil {
			return nil, err
		}
		after, err := os.Stat(path)
		if err == nil && os.SameFile(before, after) {
			return db, nil
		}
		if err := db.Close(); err != nil {
			return nil, fmt.Errorf("open ZooKeeper store: %w", err)
		}
	}
	return nil, fmt.Errorf("open ZooKeeper store %s: %w: the file keeps being replaced", path, ErrStoreInUse)
}

// compactIfWorthIt returns db, or in its place a compacted copy that has taken
// its name. Both are locked while the name changes hands.
func compactIfWorthIt(db *bolt.DB, path string) (*bolt.DB, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ZooKeeper store: %w", err), db.Close())
	}
	free := int64(db.Stats().FreePageN) * int64(db.Info().PageSize)
	if info.Size() < compactFrom || free < info.Size()/2 {
		return db, nil
	}
	tmp := newFileName(path)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("compact ZooKeeper store: %w", err), db.Close())
	}
	small, err := openFile(tmp)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	err = bolt.Compact(small, db, 1<<20)
	if vfs.NoRoom(err) { // it is not needed to go on
		return db, errors.Join(small.Close(), os.Remove(tmp))
	}
	if err == nil {
		err = renameDurably(tmp, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("compact ZooKeeper store %s: %w", path, err), small.Close(), os.Remove(tmp), db.Close())
	}
	if err := db.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("compact ZooKeeper store %s: %w", path, err), small.Close())
	}
	return small, nil
}

// Load implements Store.
func (s *BoltStore) Load(visit func(Entry) error) error {
	return s.db.View(func(tx *bolt.Tx) error {
		for bucket, name := range bucketNames {
			b := tx.Bucket(name)
			if b == nil {
				return fmt.Errorf("ZooKeeper store %s has no bucket %q: not such a store", s.path, name)
			}
			err := b.ForEach(func(k, v []byte) error { return visit(Entry{bucket, string(k), v}) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Commit implements Store. It orders the changes by key, so that neighbours in
// the tree, which share pages, are written together.
func (s *BoltStore) Commit(changes []Change) error {
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Key, b.Key))
	})
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, c := range changes {
			b := tx.Bucket(bucketNames[c.Bucket])
			var err error
			if c.Value == nil {
				err = b.Delete([]byte(c.Key))
			} else {
				err = b.Put([]byte(c.Key), c.Value)
			}
			if err != nil {
				return fmt.Errorf("key %q: %w", c.Key, err)
			}
		}
		return nil
	})
	// Only a page that could not be written is harmless, for it is one that nothing
	// refers to. After a failed fsync it is not known what is in the file.
	if failed := (*fs.PathError)(nil); vfs.NoRoom(err) && errors.As(err, &failed) && failed.Op == "write" {
		err = fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	if err != nil {
		return fmt.Errorf("commit %d changes to ZooKeeper store %s: %w", len(changes), s.path, err)
	}
	s.ahead()
	return nil
}

// HasRoom implements Store.
func (s *BoltStore) HasRoom() bool { return s.ahead() }

// Close implements Store.
func (s *BoltStore) Close() error { return errors.Join(s.db.Close(), s.file.Close()) }
