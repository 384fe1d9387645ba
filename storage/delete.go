package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Delete removes partitions: when it returns they are gone, also after a power
// loss, and can be created anew. Their files stay under other names for
// file.delete.delay.ms, so that fetches which have begun can end.
//
// Deleting what is not here is no error, unless a directory is offline that may
// hold it: then kerr.KafkaStorageError, as for every failure of a disk. The
// error does not keep the other partitions from being deleted.
func (s *Store) Delete(partitions ...protocol.TopicPartition) error {
	var errs []error
	touched := map[*directory]bool{}
	for _, tp := range partitions {
		d, err := s.delete(tp)
		if err != nil {
			errs = append(errs, fmt.Errorf("delete partition %v: %w", tp, err))
		} else if d != nil {
			touched[d] = true
		}
	}
	for _, d := range s.dirs {
		if !touched[d] {
			continue
		}
		if err := d.fs.SyncDir(d.path); err != nil {
			errs = append(errs, fmt.Errorf("delete partitions: %w", storageError(err)))
		}
		d.checkpointSoon()
	}
	return errors.Join(errs...)
}

func (s *Store) delete(tp protocol.TopicPartition) (*directory, error) {
	release, h, err := s.claim(tp)
	if err != nil {
		return nil, err
	}
	defer release()
	if h == nil {
		if slices.ContainsFunc(s.dirs, func(d *directory) bool { return !d.online() }) {
			return nil, fmt.Errorf("it may be in a log directory that is offline: %w", kerr.KafkaStorageError)
		}
		return nil, nil
	}
	d := h.dir
	if err := d.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.withdraw(h)
	s.mu.Unlock()
	h.log.Abandon()
	d.present.Add(-1)
	d.checkpoints.remove(h)
	if err := d.setAside(filepath.Base(h.log.Dir()), tp); err != nil {
		d.blame(err)
		return nil, storageError(err)
	}
	s.logger.Debug("partition deleted", "partition", tp.String(), "dir", d.path)
	return d, nil
}

// setAside renames a partition's directory to what waits for its removal. On a
// disk without room for the longer name it is removed at once.
func (d *directory) setAside(name string, tp protocol.TopicPartition) error {
	path := d.join(deletedDirName(tp))
	if err := d.fs.Rename(d.join(name), path); vfs.NoRoom(err) {
		return d.fs.RemoveAll(d.join(name))
	} else if err != nil {
		return err
	}
	d.removals.add(path, time.Now())
	return nil
}

// removals are the -delete directories of one log directory, oldest first. Any
// goroutine adds; only the directory's maintenance takes.
type removals struct {
	mu      sync.Mutex
	waiting []removal
}

type removal struct {
	path  string
	since time.Time
}

func (r *removals) add(path string, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, removal{path, since})
}

// peek returns the oldest and when its wait ends; zero if nothing is waiting.
func (r *removals) peek(delay time.Duration) (path string, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return "", time.Time{}
	}
	return r.waiting[0].path, r.waiting[0].since.Add(delay)
}

func (r *removals) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

// pop takes the oldest out if it has waited for delay.
func (r *removals) pop(now time.Time, delay time.Duration) (path string, ok bool) {
	path, due := r.peek(delay)
	if path == "" || due.After(now) {
		return "", false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.Delete(r.waiting, 0, 1)
	return path, true
}
