package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// floorLog is a partition whose segments a broker has written: a real consumer reads them.
// It knows where the batches are; a fetch is a read, a small send, and sendfile.
type floorLog struct {
	files   []*os.File
	batches []floorBatch // by offset
}

type floorBatch struct {
	last int64 // offset
	file int
	at   int64
	size int
}

// from compares so that a search finds the first batch with an offset or one behind it.
func (b floorBatch) from(offset int64) int {
	if b.last < offset {
		return -1
	}
	return 1
}

// openFloorLog reads where the batches of a partition's folder are.
func openFloorLog(folder string) (*floorLog, error) {
	segments, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil || len(segments) == 0 {
		return nil, errors.Join(err, fmt.Errorf("there are no segments in %s", folder))
	}
	slices.Sort(segments)
	l := &floorLog{}
	for i, name := range segments {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, file)
		const upToLength, upToLastDelta = 12, 27
		header := make([]byte, upToLastDelta)
		for at := int64(0); ; {
			if _, err := file.ReadAt(header, at); err == io.EOF {
				break
			} else if err != nil {
				return nil, err
			}
			size := upToLength + int(binary.BigEndian.Uint32(header[8:]))
			if size <= upToLastDelta { // the rest is set aside for more
				break
			}
			last := int64(binary.BigEndian.Uint64(header)) + int64(binary.BigEndian.Uint32(header[23:]))
			l.batches = append(l.batches, floorBatch{last, i, at, size})
			at += int64(size)
		}
	}
	return l, nil
}

func (l *floorLog) close() {
	for _, f := range l.files {
		f.Close()
	}
}

// from returns the batches from the one that holds the offset, one at least and as many of
// its file as limit allows. There are none at the end.
func (l *floorLog) from(offset int64, limit int) (file *os.File, at int64, n int) {
	first, _ := slices.BinarySearchFunc(l.batches, offset, floorBatch.from)
	for i := first; i < len(l.batches) && l.batches[i].file == l.batches[first].file; i++ {
		if i > first && n+l.batches[i].size > limit {
			break
		}
		n += l.batches[i].size
	}
	if n == 0 {
		return nil, 0, 0
	}
	b := l.batches[first]
	return l.files[b.file], b.at, n
}

// end is the offset behind the last record.
func (l *floorLog) end() int64 {
	if len(l.batches) == 0 {
		return 0
	}
	return l.batches[len(l.batches)-1].last + 1
}

// fetch sends records. At the end it sends nothing: the client has what it came for.
func (l *floorLog) fetch(r floorRequest, req *kmsg.FetchRequest) error {
	want := req.Topics[0].Partitions[0]
	file, at, n := l.from(want.FetchOffset, int(want.PartitionMaxBytes))
	if n == 0 {
		return nil
	}
	if err := send(r.socket, r.beforeRecords(req, l.end(), n), unix.MSG_MORE); err != nil {
		return err
	}
	return sendFile(r.socket, int(file.Fd()), at, n)
}

func (l *floorLog) produce([]byte) (int64, error) {
	return 0, errors.New("segments of a broker are only read")
}
