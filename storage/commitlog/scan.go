package commitlog

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// header is what the log needs to know of a batch, of any message format. Before
// format 2 a batch was a message, or a message that held others compressed, and
// only its last offset can be told without opening it.
type header struct {
	position     int64 // in the segment
	size         int64 // bytes, with base offset and length
	base, last   int64 // offsets; base = last before format 2
	maxTimestamp int64
	epoch        int32 // leader epoch, −1 before format 2
	magic        int8
}

func (h header) next() int64 { return h.last + 1 }

const (
	// legacyHeader is the size up to the timestamp of a format-1 message, which
	// is the smaller of the headers.
	legacyHeader = 26
	posSize      = 8
	posMagic     = 16

	// Sizes of the shortest messages of formats 0 and 1, less LogOverhead.
	minLegacy0 = 14
	minLegacy1 = 22
)

// parseHeader reads a header from the first bytes of a batch. complete is false
// if b is too short to hold one. The error wraps kerr.CorruptMessage.
func parseHeader(b []byte) (h header, complete bool, err error) {
	if len(b) < posMagic+1 {
		return header{}, false, nil
	}
	h = header{
		base:         int64(binary.BigEndian.Uint64(b)),
		size:         record.LogOverhead + int64(int32(binary.BigEndian.Uint32(b[posSize:]))),
		magic:        int8(b[posMagic]),
		maxTimestamp: record.NoTimestamp,
		epoch:        record.NoLeaderEpoch,
	}
	h.last = h.base
	least := int64(record.HeaderSize)
	switch h.magic {
	case 0:
		least = record.LogOverhead + minLegacy0
	case 1:
		least = record.LogOverhead + minLegacy1
	case 2:
	default:
		return h, true, fmt.Errorf("message format %d: %w", h.magic, kerr.CorruptMessage)
	}
	if h.size < least {
		return h, true, fmt.Errorf("size %d: %w", h.size, kerr.CorruptMessage)
	}
	if int64(len(b)) < min(least, legacyHeader) || h.magic == 2 && len(b) < record.HeaderSize {
		return h, false, nil
	}
	switch h.magic {
	case 1:
		h.maxTimestamp = int64(binary.BigEndian.Uint64(b[posMagic+2:]))
	case 2:
		batch := record.Batch(b)
		h.last = batch.LastOffset()
		h.maxTimestamp = batch.MaxTimestamp()
		h.epoch = batch.LeaderEpoch()
	}
	if h.base < 0 || h.last < h.base {
		return h, true, fmt.Errorf("offsets %d to %d: %w", h.base, h.last, kerr.CorruptMessage)
	}
	return h, true, nil
}

// checkCRC verifies the checksum of a whole batch of any format.
func checkCRC(b []byte) error {
	if record.Batch(b).Magic() >= 2 {
		return record.Batch(b).CheckCRC()
	}
	return record.Message(b).CheckCRC()
}

// splitBatch splits off the first batch of buf, of any format. The errors are
// record.Next's, without ErrUnsupportedMagic.
func splitBatch(buf []byte) (h header, b, rest []byte, err error) {
	h, complete, err := parseHeader(buf)
	switch {
	case err != nil:
		return h, nil, nil, err
	case !complete || int64(len(buf)) < h.size:
		return h, nil, nil, record.ErrTruncated
	}
	return h, buf[:h.size:h.size], buf[h.size:], nil
}

// scanner walks over the headers of the batches in part of a segment's file,
// reading a block at a time.
type scanner struct {
	file     vfs.File
	pos, end int64
	block    *[blockSize]byte
	at, n    int64 // what block holds: n bytes from at on
	last     int64 // position of the batch that next returned
}

// scan returns a scanner of the batches from pos, where one must begin, to end.
// It holds a buffer until close.
func scan(f vfs.File, pos, end int64) scanner {
	return scanner{file: f, pos: pos, end: end, block: blocks.Get().(*[blockSize]byte)}
}

func (s *scanner) close() { blocks.Put(s.block) }

// next returns the next batch's header. more is false at the end, and before a
// batch that is not wholly there.
func (s *scanner) next() (h header, more bool, err error) {
	if s.pos >= s.end {
		return header{}, false, nil
	}
	if s.pos < s.at || s.pos+record.HeaderSize > s.at+s.n {
		s.at, s.n = s.pos, min(blockSize, s.end-s.pos)
		if err := readFull(s.file, s.block[:s.n], s.at); err != nil {
			return header{}, false, err
		}
	}
	h, complete, err := parseHeader(s.block[s.pos-s.at : s.n])
	if err != nil {
		return header{}, false, fmt.Errorf("%s at %d: %w", s.file.Name(), s.pos, err)
	}
	if !complete || s.pos+h.size > s.end {
		return header{}, false, nil
	}
	h.position, s.last = s.pos, s.pos
	s.pos += h.size
	return h, true, nil
}

// header returns the bytes of the header that next has just read, of a batch of
// format 2. They are valid until the next call.
func (s *scanner) header() []byte { return s.block[s.last-s.at:][:record.HeaderSize] }
