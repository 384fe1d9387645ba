package record

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// checkSet checks what Produce carries before version 3, and makes one batch of
// it: of all plain messages, or of those in one compressed message. nil if there
// is no whole message. Kafka takes a batch from those versions, too.
//
// All of the entries' bytes are checked before any record, as Kafka does: the
// first outside of the log's lock, the second inside.
func (r *LeaderRules) checkSet(records []byte) (Batch, error) {
	var first Batch
	codec := None
	entries := 0
	for rest := records; ; entries++ {
		b, next, err := nextEntry(rest)
		if err != nil {
			return nil, err
		}
		if b == nil {
			break
		}
		c, err := r.checkEntry(b)
		if err != nil {
			return nil, err
		}
		if c != None {
			codec = c
		}
		if entries == 0 {
			first = b
		}
		rest = next
	}
	switch {
	case entries == 0:
		return nil, nil
	case entries > 1 && (first.Magic() == 2 || codec != None):
		return nil, fmt.Errorf("%d batches or compressed messages for a partition instead of one: %w", entries, kerr.InvalidRecord)
	case first.Magic() < 2:
		return r.convertSet(records, first.Magic(), codec)
	}
	if err := r.checkHeader(first); err != nil {
		return nil, err
	}
	return r.checkRecords(first)
}

// nextEntry is NextEntry for a message set, which may end with a part of an
// entry: nil at its end.
func nextEntry(set []byte) (b Batch, rest []byte, err error) {
	b, rest, err = NextEntry(set)
	if errors.Is(err, ErrTruncated) {
		return nil, nil, nil
	}
	return b, rest, err
}

// checkEntry is checkBytes for an entry of any format. It returns the codec.
func (r *LeaderRules) checkEntry(b Batch) (Codec, error) {
	if b.Magic() == 2 {
		return b.Codec(), r.checkBytes(b)
	}
	if err := r.checkSize(b); err != nil {
		return None, err
	}
	m := Message(b)
	if err := m.CheckCRC(); err != nil {
		return None, err
	}
	if m.Codec() > Zstd {
		return None, fmt.Errorf("%v: %w", m.Codec(), kerr.UnsupportedCompressionType)
	}
	return m.Codec(), nil
}

// convertSet builds a batch of the records of a set whose entries are all of
// format magic, or else it is refused. codec is what they are compressed with.
func (r *LeaderRules) convertSet(set []byte, magic int8, codec Codec) (Batch, error) {
	if r.TargetCodec != CompressionProducer {
		codec = r.TargetCodec
	}
	builder := NewBuilder().SetCodec(codec, r.TargetLevel)
	if r.TimestampType == LogAppendTime {
		builder.SetLogAppendTime(r.NowMS)
	}
	for {
		b, rest, err := nextEntry(set)
		if err != nil {
			return nil, err
		}
		if b == nil {
			break
		}
		if b.Magic() != magic {
			return nil, fmt.Errorf("message format %d in a set that begins with format %d: %w", b.Magic(), magic, kerr.InvalidRecord)
		}
		if err := r.convertMessage(builder, Message(b)); err != nil {
			return nil, err
		}
		set = rest
	}
	built, err := builder.Build()
	if err != nil {
		return nil, err
	}
	return built, r.checkSize(built)
}

// convertMessage adds the records of a message, or of those inside, to a batch.
func (r *LeaderRules) convertMessage(to *Builder, m Message) error {
	buf := getScratch()
	defer putScratch(buf)
	// The batch that is built of it takes as much again.
	err := m.open(buf, r.maxDecompressed()/2, func(w *messageWalker) error { return r.convertRecords(to, m, w) })
	if errors.Is(err, ErrTooLarge) {
		err = fmt.Errorf("%w: %w", kerr.MessageTooLarge, err)
	}
	return err
}

func (r *LeaderRules) convertRecords(to *Builder, m Message, w *messageWalker) error {
	var faults recordFaults
	for i := int32(0); ; i++ {
		rec, more, err := w.next()
		if err != nil {
			return err
		}
		if !more {
			return faults.err()
		}
		if w.wrapper != nil {
			if inner := rec.message.Magic(); inner != m.Magic() {
				faults.otherFormat(i, inner, m.Magic(), r)
				continue
			}
			if err := rec.message.CheckCRC(); err != nil {
				return err
			}
		}
		r.checkRecord(&faults, i, rec.Key, rec.Timestamp, rec.Offset, m.TimestampType())
		if rec.Timestamp < NoTimestamp {
			return fmt.Errorf("timestamp %d: %w", rec.Timestamp, kerr.InvalidTimestamp)
		}
		if faults.total == 0 { // else nothing comes of it
			to.Append(rec.Timestamp, rec.Key, rec.Value)
		}
	}
}
