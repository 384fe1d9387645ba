package commitlog

import (
	"context"
	"path/filepath"
)

// Close leaves the log so that the next broker need not recover it: everything
// durable, the active segment's indexes complete and cut to size, the producers'
// state written at the end offset. A log that nothing was appended to since it
// was loaded costs nothing to close; nor does one that never held a record: it has
// nothing to keep, not even who led it, so that a broker with thousands of them
// does not make thousands of small files durable before it goes. Only after all
// logs of a directory were closed without error may its clean-shutdown marker be
// written: Close of a log that has failed or was abandoned is an error, a second
// Close is not. On a full disk (see vfs.NoRoom) the log stays open, and is to be
// closed again or abandoned.
//
// Everything that is asked of the log afterwards returns ErrClosed, except that
// its offsets stay readable, and ranges that are held stay so.
func (l *Log) Close(ctx context.Context) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := l.Finish(); err != nil || l.left {
		return err
	}
	if err := l.syncRound(); err != nil {
		return err
	}
	l.left = true
	l.discard()
	return nil
}

// Finish is the part of Close that writes; nothing can be appended any more. Whoever
// closes many logs finishes all of them first, so that the file system can make them
// durable together; unsynced says whether Close will have to wait for it.
func (l *Log) Finish() (unsynced bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return false, err
	}
	if l.closed {
		if l.abandoned {
			return false, ErrClosed
		}
		return false, nil
	}
	s := l.active()
	defer func() {
		if err != nil {
			s.sealed = false
		}
	}()
	l.dirChanged = l.dirChanged || s.txns.waits()
	if !s.synced {
		if err := s.seal(); err != nil {
			return false, l.refuse("sealing a segment", err)
		}
	}
	if l.pristine {
		s.synced, l.dirChanged, l.closed = true, false, true // there is nothing to lose
		return false, nil
	}
	if err := l.takeSnapshot(l.end.Load()); err != nil {
		return false, l.refuse("writing a producer snapshot", err)
	}
	if err := l.writeMetadata(); err != nil {
		return false, l.refuse("writing the metadata", err)
	}
	l.closed = true
	return !s.synced || l.dirChanged, nil
}

// Abandon gives up the descriptors and writes nothing: for a directory that has
// failed, and for a log whose directory is about to be removed. It waits for what
// is under way; once it has returned, the log uses no name in its directory any
// more, which may be renamed.
func (l *Log) Abandon() {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	l.abandoned = !l.left
	l.closed = true
	l.mu.Unlock()
	l.dir.mu.Lock()
	l.dir.gone = true
	l.dir.mu.Unlock()
	l.discard()
}

func (l *Log) discard() {
	for _, s := range l.list() {
		s.discard()
	}
}

// Rename moves the log's directory, to the name under which it is to be deleted,
// say. Reads and appends go on. The new name is durable once the directory above
// it is synced, which is left to the caller, who may have many to rename.
func (l *Log) Rename(dir string) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dir.mu.Lock()
	defer l.dir.mu.Unlock()
	if err := l.dir.fs.Rename(l.dir.path, dir); err != nil {
		return storageError("renaming the directory", l.partition, err)
	}
	l.dir.path = filepath.Clean(dir)
	return nil
}
