package commitlog

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/storage/producerstate"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// checkClosed verifies the files of a cleanly closed log, reading them afresh:
// nothing in them but what Kafka expects there.
func checkClosed(t *testing.T, fsys vfs.FS, dir string, start, end int64) {
	t.Helper()
	read := func(name string) []byte {
		data, err := vfs.ReadFile(fsys, filepath.Join(dir, name), 1<<30)
		must(t, err)
		return data
	}
	var bases []int64
	snapshotAtEnd := false
	for _, name := range dirNames(t, fsys, dir) {
		f, ok := parseFileName(name)
		switch {
		case !ok:
			if name != epochsFile && name != metadataFile {
				t.Errorf("stray file %s", name)
			}
		case f.state == deletedSuffix:
		case f.state != "":
			t.Errorf("stray file %s", name)
		case f.suffix == logSuffix:
			bases = append(bases, f.base)
		case f.suffix == snapshotSuffix:
			if _, err := producerstate.Decode(read(name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if f.base > end {
				t.Errorf("%s lies beyond the end %d", name, end)
			}
			snapshotAtEnd = snapshotAtEnd || f.base == end
		}
	}
	if end > 0 || slices.Contains(dirNames(t, fsys, dir), epochsFile) {
		if _, err := parseEpochs(read(epochsFile)); err != nil {
			t.Error(err)
		}
	}
	next := int64(-1)
	for i, base := range bases {
		if next >= 0 && base < next {
			t.Errorf("segment %d begins before %d", base, next)
		}
		next = checkSegment(t, base, read(fileName(base, logSuffix)), read(fileName(base, indexSuffix)), read(fileName(base, timeSuffix)))
		if next > end || i == len(bases)-1 && next != end && next != base {
			t.Errorf("segment %d ends at %d, the log at %d", base, next, end)
		}
	}
	if next > max(start, bases[len(bases)-1]) && !snapshotAtEnd {
		t.Errorf("no snapshot at the end %d: %s", end, strings.Join(dirNames(t, fsys, dir), " "))
	}
}

// checkSegment verifies one segment, and returns its next offset.
func checkSegment(t *testing.T, base int64, log, index, times []byte) (next int64) {
	t.Helper()
	lastOffset := map[int64]int64{} // position → last offset
	greatest := map[int64]int64{}   // last offset → greatest timestamp so far
	next, newest := base, stamp{-1, base}
	position := int64(0)
	for rest := log; len(rest) > 0; {
		h, b, r, err := splitBatch(rest)
		if err == nil {
			err = checkCRC(b)
		}
		if err != nil {
			t.Errorf("segment %d at %d of %d: %v", base, position, len(log), err)
			return next
		}
		if h.base < next {
			t.Errorf("segment %d: offset %d after %d", base, h.base, next-1)
		}
		if h.maxTimestamp > newest.timestamp {
			newest = stamp{h.maxTimestamp, h.last}
		}
		lastOffset[position], greatest[h.last] = h.last, newest.timestamp
		next = h.next()
		position += h.size
		rest = r
	}
	if len(index)%offsetEntrySize != 0 || len(times)%timeEntrySize != 0 {
		t.Errorf("segment %d: indexes of %d and %d bytes", base, len(index), len(times))
	}
	previous := int64(0)
	for e := range slices.Chunk(index, offsetEntrySize) {
		offset, at := base+int64(binary.BigEndian.Uint32(e)), int64(binary.BigEndian.Uint32(e[4:]))
		if last, ok := lastOffset[at]; !ok || last != offset || at <= previous {
			t.Errorf("segment %d: index entry says that offset %d is at %d; there ends %d", base, offset, at, last)
		}
		previous = at
	}
	last := stamp{-1, base}
	for e := range slices.Chunk(times, timeEntrySize) {
		s := stamp{int64(binary.BigEndian.Uint64(e)), base + int64(binary.BigEndian.Uint32(e[8:]))}
		if s.timestamp <= last.timestamp || greatest[s.offset] != s.timestamp {
			t.Errorf("segment %d: time index entry %+v after %+v, the log has %d there", base, s, last, greatest[s.offset])
		}
		last = s
	}
	if last != newest {
		t.Errorf("segment %d: the time index ends with %+v, the log's newest is %+v", base, last, newest)
	}
	return next
}
