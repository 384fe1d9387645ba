package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Replacement is a segment in the making that is to take the place of sealed ones.
// Its files are not part of the log before Finish. It belongs to one goroutine and
// ends with Finish or Discard.
type Replacement struct {
	compaction *Compaction
	segment    *segment
	file       vfs.File
	old        []*segment
	last       int64 // offset
	ended      bool
}

// Replace begins a segment that is to replace old, which are at least one and follow
// each other. Errors wrap kerr.KafkaStorageError; see vfs.NoRoom.
func (c *Compaction) Replace(old []Sealed) (*Replacement, error) {
	r := &Replacement{compaction: c, last: old[0].BaseOffset - 1}
	for _, s := range old {
		r.old = append(r.old, s.segment)
	}
	r.segment = c.log.newSegment(old[0].BaseOffset, false)
	for _, f := range r.segment.files() {
		f.state = cleanedSuffix
	}
	if err := r.create(); err != nil {
		r.Discard()
		return nil, r.failed(err)
	}
	return r, nil
}

// create makes the files, which a pass before may have left behind.
func (r *Replacement) create() (err error) {
	s := r.segment
	if r.file, err = s.file.create(); err != nil {
		return err
	}
	if err := r.file.Truncate(0); err != nil {
		return err
	}
	if err := errors.Join(s.offsets.reset(), s.times.reset()); err != nil {
		return err
	}
	s.setNewest(stamp{record.NoTimestamp, s.base})
	return s.txns.file.remove()
}

// Size is how many bytes have been appended.
func (r *Replacement) Size() int64 { return r.segment.size.Load() }

// Append appends whole batches of any format, whose offsets ascend. The error wraps
// kerr.RecordListTooLarge if the segment would be larger than one can be.
func (r *Replacement) Append(batches []byte) error {
	s := r.segment
	position := s.size.Load()
	if position+int64(len(batches)) > math.MaxInt32 {
		return fmt.Errorf("compaction of %s makes a segment of more than 2 GiB: %w", r.compaction.log.partition, kerr.RecordListTooLarge)
	}
	if _, err := r.file.WriteAt(batches, position); err != nil {
		return r.failed(err)
	}
	for rest := batches; len(rest) > 0; {
		h, _, next, err := splitBatch(rest)
		if err == nil {
			err = checkOffsets(s.base, r.last, h)
		}
		if err != nil {
			return err
		}
		h.position, r.last = position, h.last
		if err := s.account(h, r.indexInterval()); err != nil {
			return r.failed(err)
		}
		position += h.size
		rest = next
	}
	s.size.Store(position)
	return nil
}

// indexInterval is that of the topic, while there is room in the indexes: nobody needs
// an index larger than what segment.index.bytes says.
func (r *Replacement) indexInterval() int32 {
	offsets, err := r.segment.offsets.full()
	times, err2 := r.segment.times.full()
	if offsets || times || err != nil || err2 != nil {
		return math.MaxInt32
	}
	return r.compaction.log.Config().IndexIntervalBytes
}

// AddAborted notes an aborted transaction whose marker was appended.
func (r *Replacement) AddAborted(t AbortedTxn) error {
	if err := r.segment.txns.addTxn(t); err != nil {
		return r.failed(err)
	}
	return nil
}

// Finish makes the segment durable and puts it in the place of the old ones, as if it
// had been written when they were. Readers of the old ones are not disturbed.
//
// The error wraps ErrReplaced if the log has changed meanwhile, else
// kerr.KafkaStorageError. After an error the log is as it was, or has failed.
func (r *Replacement) Finish(modified time.Time) error {
	err := r.complete(modified)
	if err == nil {
		err = r.compaction.swap(r.segment, r.old)
	}
	if err != nil && r.compaction.log.Err() != nil {
		// It may be in the place of the old ones, or half-way there. The next start
		// sees to it.
		r.end()
		r.segment.discard()
		return err
	}
	if err != nil {
		r.Discard()
		if errors.Is(err, ErrReplaced) || errors.Is(err, kerr.KafkaStorageError) {
			return err
		}
		return r.failed(err)
	}
	r.end()
	return nil
}

func (r *Replacement) complete(modified time.Time) error {
	s := r.segment
	if err := s.seal(); err != nil {
		return err
	}
	if err := r.compaction.log.dir.setModTime(s.file, modified); err != nil {
		return err
	}
	if err := errors.Join(s.file.sync(), s.syncIndexes()); err != nil {
		return err
	}
	s.synced = true
	return nil
}

// Discard gives the segment up and removes its files. It does nothing after Finish.
func (r *Replacement) Discard() {
	if r.ended {
		return
	}
	r.end()
	r.segment.discard()
	for _, f := range r.segment.files() {
		err := r.compaction.log.dir.remove(f.name())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.compaction.log.logger().Warn("what an unfinished compaction wrote is left behind", "file", f.path(), "error", err)
		}
	}
}

func (r *Replacement) end() {
	if r.file != nil && !r.ended {
		r.segment.file.release()
	}
	r.ended = true
}

func (r *Replacement) failed(err error) error {
	return storageError("compaction", r.compaction.log.partition, err)
}
