package record

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// minLegacySize is the smallest length that a message of format 0 can claim.
const minLegacySize = 14

// Next splits off the first batch of buf; both results alias buf, and b has
// exactly the size that its length field says. It looks at the structure only:
// neither the checksum nor any other field is verified. The texts of its errors
// are Kafka's, for producers get to see them.
//
// Errors: ErrTruncated if buf ends first (with an empty buf, too); an error that
// wraps kerr.CorruptMessage if what is there cannot be a batch;
// ErrUnsupportedMagic for a message of format 0 or 1, with b its bytes, of which
// only BaseOffset, Size and Magic mean anything, and rest what follows it.
func Next(buf []byte) (b Batch, rest []byte, err error) {
	if len(buf) < LogOverhead {
		return nil, nil, ErrTruncated
	}
	length := int32(binary.BigEndian.Uint32(buf[posLength:]))
	if length < minLegacySize {
		return nil, nil, fmt.Errorf("Record size %d is less than the minimum record overhead (%d): %w", length, minLegacySize, kerr.CorruptMessage)
	}
	if len(buf) <= posMagic {
		return nil, nil, ErrTruncated
	}
	size := LogOverhead + int(length)
	switch magic := int8(buf[posMagic]); {
	case magic == 2:
		if size < HeaderSize {
			return nil, nil, fmt.Errorf("batch with a length of %d: %w", length, kerr.CorruptMessage)
		}
	case magic != 0 && magic != 1:
		return nil, nil, fmt.Errorf("Invalid magic found in record: %d: %w", magic, kerr.CorruptMessage)
	default:
		err = ErrUnsupportedMagic
	}
	if len(buf) < size {
		return nil, nil, ErrTruncated
	}
	return Batch(buf[:size:size]), buf[size:], err
}

// NextEntry is Next for entries of all formats: a batch or, of format 0 or 1, a
// message, whose bytes are those of a Message.
func NextEntry(buf []byte) (entry Batch, rest []byte, err error) {
	entry, rest, err = Next(buf)
	if errors.Is(err, ErrUnsupportedMagic) {
		err = nil
	}
	return entry, rest, err
}

// EntryEnd is the offset behind an entry. A message has that of its last record.
func EntryEnd(entry Batch) int64 {
	if entry.Magic() < 2 {
		return entry.BaseOffset() + 1
	}
	return entry.NextOffset()
}
