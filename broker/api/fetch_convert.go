package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/broker/fetch"
	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// firstBatchFetch is the first version of Fetch whose clients can read record
// batches; those before it get messages of an older format.
const firstBatchFetch = 4

// messageFormat is the newest record format that clients of a version of Fetch
// can read, if it is not that of today.
func messageFormat(version int16) (magic int8, old bool) {
	if version < 2 {
		return 0, true
	}
	return 1, version < firstBatchFetch
}

// firstZstdFetch is the first version of Fetch whose clients know zstd (KIP-110).
const firstZstdFetch = 10

// refusal is why a client of this version may not have a partition's records, by
// the topic's configuration.
func (h *fetchAnswer) refusal(p *fetch.Result) error {
	if h.version >= firstZstdFetch {
		return nil
	}
	tp := protocol.TopicPartition{Topic: p.Topic, Partition: p.Partition}
	part, err := h.replicas.Partition(tp)
	if err != nil {
		return nil // it is not here, which is what the client is told
	}
	log, err := part.Log()
	if err != nil {
		return nil
	}
	cfg := log.Config()
	if cfg.CompressionType == record.Zstd.String() {
		return fmt.Errorf("%v has zstd for compression.type, Fetch version %d does not know it: %w", tp, h.version, kerr.UnsupportedCompressionType)
	}
	if h.version < firstBatchFetch && !h.follower && !cfg.DownConversion {
		return fmt.Errorf("%v is not converted for Fetch version %d, message.downconversion.enable is false: %w", tp, h.version, kerr.UnsupportedVersion)
	}
	return nil
}

// refused is the result of a partition that is here, but whose records are not
// for this client. It releases the range of p.
func (h *fetchRecords) refused(p *fetch.Result, err error) fetchResult {
	p.Range.Release()
	return fetchResult{
		topic: p.Topic, topicID: p.ID, partition: p.Partition, code: h.codes.of(err),
		highWatermark: -1, lastStable: -1, logStart: -1, divergingEpoch: -1,
		aborted: []commitlog.AbortedTxn{}, preferredReplica: -1, currentLeader: noHint, noRecords: true,
	}
}

// conversionSlots bounds how many batches are being converted at a time, for each
// may take as many bytes as record.MaxDecompressed says, whatever its size.
type conversionSlots chan struct{}

func newConversionSlots() conversionSlots { return make(conversionSlots, runtime.GOMAXPROCS(0)) }

// convert returns a range of converted records in the place of stored ones, for a
// client that fetches from offset from. It takes over r, whatever it returns. The
// error wraps kerr.UnsupportedCompressionType if the records to begin with cannot
// be converted, or is that of reading them.
//
// Most of them are converted while they are sent, so that a response costs no
// more memory than one batch at a time (KIP-283). Hence the size must be known
// before: it is that of the stored records or, if that is more, that of the first
// converted batch, without which the client would not get on. What is larger when
// converted is cut off, what is smaller is filled up with the beginning of a
// message that is larger still. Clients leave out such a last message; one that
// gets nothing else knows that there are records for which it asked too few bytes.
func (s conversionSlots) convert(r server.Range, magic int8, from int64) (server.Range, error) {
	c := &conversion{slots: s, stored: r, end: r.Offset + int64(r.Len), magic: magic, from: from}
	first, err := c.first()
	if err != nil {
		c.Release()
		return server.Range{}, err
	}
	switch {
	case first > 0:
		c.size = max(int64(r.Len), first)
	case c.stored.Offset > r.Offset:
		c.size = fillingHeader // there are records, but none that can be converted
	}
	if c.size == 0 {
		c.Release()
		return server.Range{}, nil
	}
	return server.Range{File: c, Len: int(c.size), Owner: c}, nil
}

// conversion is a run of stored batches, read as messages of an older format, from
// the beginning to the end.
type conversion struct {
	slots  conversionSlots
	stored server.Range // Offset is where the batches begin that are not converted yet
	end    int64        // of the stored batches
	magic  int8
	from   int64

	size  int64  // bytes, known before the second batch is converted
	read  int64  // bytes that were read already
	ready []byte // converted and not read yet
}

// maxReady is how many converted bytes a partition of a response may keep while
// others are sent.
const maxReady = 16 << 10

// first converts batches until there are records, and returns their size. If that
// is too large to be kept they will be converted again.
func (c *conversion) first() (int64, error) {
	for {
		at := c.stored.Offset
		more, err := c.next(math.MaxInt)
		if err != nil || !more {
			return 0, err
		}
		if size := len(c.ready); size > maxReady {
			c.ready, c.stored.Offset = nil, at
			return int64(size), nil
		} else if size > 0 {
			c.ready = slices.Clip(c.ready)
			return int64(size), nil
		}
	}
}

// next converts one batch, of which most bytes will be used. more is false if
// there is no whole one left.
func (c *conversion) next(most int) (more bool, err error) {
	b, err := c.nextStored()
	if b == nil || err != nil {
		return false, err
	}
	c.slots <- struct{}{}
	defer func() { <-c.slots }()
	c.ready, err = record.DownConvert(c.ready[:0], b, c.magic, c.from, most, record.MaxDecompressed(int32(len(b))))
	if err != nil {
		return false, fmt.Errorf("convert a batch at offset %d to format %d: %w", b.BaseOffset(), c.magic, err)
	}
	return true, nil
}

// entryHeader is what tells the size of a batch of any format.
const entryHeader = 17

// nextStored reads the next batch, nil if no whole one is left.
func (c *conversion) nextStored() (record.Batch, error) {
	left := c.end - c.stored.Offset
	if left < entryHeader {
		return nil, nil
	}
	var header [entryHeader]byte
	if err := c.readStored(header[:]); err != nil {
		return nil, err
	}
	if _, _, err := record.NextEntry(header[:]); !errors.Is(err, record.ErrTruncated) {
		return nil, err // no batch is so small
	}
	size := int64(record.Batch(header[:]).Size())
	if size > left {
		return nil, nil
	}
	raw := make([]byte, size)
	if err := c.readStored(raw); err != nil {
		return nil, err
	}
	b, _, err := record.NextEntry(raw)
	c.stored.Offset += size
	return b, err
}

func (c *conversion) readStored(p []byte) error {
	n, err := c.stored.File.ReadAt(p, c.stored.Offset)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the log was truncated meanwhile
	}
	return fmt.Errorf("%w: %d bytes at %d: %w", errReadStored, len(p), c.stored.Offset, err)
}

var errReadStored = errors.New("stored records cannot be read")

// ReadAt implements io.ReaderAt for a reader that goes from the beginning to the
// end, as the server does.
func (c *conversion) ReadAt(p []byte, off int64) (n int, err error) {
	if off != c.read {
		return 0, fmt.Errorf("converted records are read at %d instead of %d", off, c.read)
	}
	for n < len(p) && c.read < c.size {
		if len(c.ready) == 0 {
			if err := c.refill(); err != nil {
				return n, err
			}
		}
		taken := copy(p[n:], c.ready)
		c.ready = c.ready[taken:]
		n += taken
		c.read += int64(taken)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// refill makes ready what comes next: a batch or, where none is left or the next
// one cannot be converted, filling. (The client will ask for that one again, and
// get the error when the response begins with it.)
func (c *conversion) refill() error {
	for len(c.ready) == 0 {
		more, err := c.next(int(c.size - c.read))
		if errors.Is(err, errReadStored) {
			return err
		}
		if err != nil {
			c.stored.Offset = c.end
		}
		if !more {
			c.ready = filling(c.ready[:0], c.size-c.read)
		}
	}
	c.ready = c.ready[:min(int64(len(c.ready)), c.size-c.read)]
	return nil
}

const (
	fillingHeader = 12 // offset and size of a message
	maxFilling    = 128 << 10
)

// filling appends the beginning of a message that is larger than the n bytes that
// are left: all of them, or as many as Kafka writes at once.
func filling(dst []byte, n int64) []byte {
	dst = slices.Grow(dst, int(max(fillingHeader, min(n+1, maxFilling))))
	dst = dst[:cap(dst)][:max(fillingHeader, min(n+1, maxFilling))]
	clear(dst)
	binary.BigEndian.PutUint64(dst, math.MaxUint64)
	binary.BigEndian.PutUint32(dst[8:], uint32(max(n+1, record.HeaderSize)))
	return dst
}

// Release gives back the stored batches.
func (c *conversion) Release() {
	if c.stored.Owner != nil {
		c.stored.Owner.Release()
		c.stored.Owner = nil
	}
	c.ready = nil
}
