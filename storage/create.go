package storage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// errStopped answers what comes after Stop.
var errStopped = errors.New("the log directories have been closed")

// Create returns the log of a partition and makes it if it is not here. A new
// log goes to the log directory with the fewest partitions. isNew says that the
// partition cannot have been here before; without it, nothing is created while
// a directory is offline, because the log may be in there.
//
// id is the topic's id, zero if the controller gave none. Errors:
// kerr.InconsistentTopicID if the log that is here belongs to another
// incarnation of the topic, kerr.InvalidTopicException for a name too long for
// a directory, kerr.KafkaStorageError.
func (s *Store) Create(tp protocol.TopicPartition, id protocol.TopicID, cfg *config.Topic, isNew bool) (*commitlog.Log, error) {
	if name := tp.String(); len(name) > maxDirName {
		return nil, fmt.Errorf("create partition %s: a directory's name has at most %d bytes: %w", name, maxDirName, kerr.InvalidTopicException)
	}
	release, h, err := s.claim(tp)
	if err != nil {
		return nil, fmt.Errorf("create partition %v: %w", tp, err)
	}
	defer release()
	if h == nil {
		if h, err = s.create(tp, cfg, isNew); err != nil {
			return nil, fmt.Errorf("create partition %v: %w", tp, err)
		}
	}
	if !h.dir.online() {
		return nil, fmt.Errorf("create partition %v: %w", tp, h.dir.err())
	}
	if !id.IsZero() {
		if err := h.log.SetTopicID(id); err != nil {
			return nil, fmt.Errorf("partition %v: %w", tp, err)
		}
	}
	return h.log, nil
}

// claim makes the caller the only one who creates or deletes tp, until release,
// and returns the log that is here, if any.
func (s *Store) claim(tp protocol.TopicPartition) (release func(), h *hosted, err error) {
	for {
		s.mu.Lock()
		if s.stopped {
			s.mu.Unlock()
			return nil, nil, errStopped
		}
		wait, taken := s.busy[tp]
		if !taken {
			break
		}
		s.mu.Unlock()
		<-wait
	}
	done := make(chan struct{})
	s.busy[tp] = done
	h = s.live[tp.Topic][tp.Partition]
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		delete(s.busy, tp)
		s.mu.Unlock()
		close(done)
	}, h, nil
}

// create makes a new log, in the next best directory if the best one fails or has
// no room for it. The caller has claimed tp.
func (s *Store) create(tp protocol.TopicPartition, cfg *config.Topic, isNew bool) (*hosted, error) {
	candidates := s.byFewestPartitions()
	if !isNew && len(candidates) < len(s.dirs) {
		return nil, fmt.Errorf("it may be in a log directory that is offline: %w", kerr.KafkaStorageError)
	}
	var noRoom error
	for _, d := range candidates {
		h, err := s.createIn(d, tp, cfg)
		if err == nil {
			return h, nil
		}
		if vfs.NoRoom(err) {
			noRoom = err
		} else if d.online() {
			return nil, err
		}
		s.logger.Warn("partition cannot be created here", "partition", tp.String(), "dir", d.path, "err", err)
	}
	if noRoom != nil {
		s.uncreated.Store(true)
		return nil, noRoom
	}
	return nil, fmt.Errorf("no log directory is online: %w", kerr.KafkaStorageError)
}

func (s *Store) createIn(d *directory, tp protocol.TopicPartition, cfg *config.Topic) (_ *hosted, err error) {
	d.present.Add(1)
	defer func() {
		if err != nil {
			d.present.Add(-1)
		}
	}()
	// Lines of an earlier partition of this name must not be taken for the new one's.
	if err := d.checkpoints.forget(tp); err != nil {
		return nil, err
	}
	path := d.join(tp.String())
	log, err := commitlog.Open(s.options(d, path, tp, cfg, commitlog.Options{CleanedOffset: noLine}))
	if vfs.NoRoom(err) {
		return nil, errors.Join(err, d.fs.RemoveAll(path))
	}
	if err != nil {
		if errors.Is(err, kerr.KafkaStorageError) {
			d.fail(err)
		}
		return nil, err
	}
	h := newHosted(tp, d, liveDir, log)
	d.checkpoints.add(h)
	s.mu.Lock()
	s.publish(h)
	s.mu.Unlock()
	if hurries(h) {
		d.flushSoon()
	}
	return h, nil
}

// byFewestPartitions returns the directories that are online, the one for the
// next partition first. Kafka looks at their number only; here those that are full
// come last, for nothing could be appended there.
func (s *Store) byFewestPartitions() []*directory {
	var online []*directory
	counts, full := map[*directory]int32{}, map[*directory]bool{}
	for _, d := range s.dirs {
		if d.online() {
			online = append(online, d)
			counts[d], full[d] = d.present.Load(), d.room.full.Load()
		}
	}
	slices.SortStableFunc(online, func(a, b *directory) int {
		return cmp.Or(boolCompare(full[a], full[b]), int(counts[a])-int(counts[b]))
	})
	return online
}
