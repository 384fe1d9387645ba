package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// maxStateBytes bounds a state file.
const maxStateBytes = 1 << 20

// SaveState keeps a small piece of the broker's own state in a plain file in
// the first log directory, readable by its owner alone: it may hold secrets.
// After a crash the file has the old content or the new one. A plain file it
// is because Kafka ignores those in a log directory and refuses to start on a
// sub-directory it does not know. With nil data the file is removed.
func (s *Store) SaveState(name string, data []byte) error {
	d, err := s.stateDir(name)
	if err != nil {
		return err
	}
	path := d.join(name)
	if data == nil {
		if err := d.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", path, err)
		}
		return d.fs.SyncDir(d.path)
	}
	if err := writePrivate(d.fs, path, data); err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	return nil
}

// LoadState returns what SaveState kept under name, nil if there is nothing.
func (s *Store) LoadState(name string) ([]byte, error) {
	d, err := s.stateDir(name)
	if err != nil {
		return nil, err
	}
	data, err := vfs.ReadFile(d.fs, d.join(name), maxStateBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load state: %w", err)
	}
	return data, nil
}

// stateDir is the first directory that works: state must not be lost with the
// first disk while others carry on.
func (s *Store) stateDir(name string) (*directory, error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, fmt.Errorf("%q cannot be the name of a state file", name)
	}
	for _, d := range s.dirs {
		if d.online() {
			return d, nil
		}
	}
	return nil, s.requireOnline()
}

// writePrivate is vfs.WriteFileAtomic with mode 0600.
func writePrivate(fsys vfs.FS, path string, data []byte) error {
	tmp := path + ".tmp"
	// A leftover may have been created with another mode, which opening would keep.
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}
