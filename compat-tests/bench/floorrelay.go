package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// floorRelay is a partition that is empty at first. A batch is checksummed, written to a
// file, and sent to the consumer that waits for it by the producer's own thread, before
// the producer has its answer: nobody has to be woken but the clients.
type floorRelay struct {
	file *os.File

	mu      sync.Mutex
	batches []floorBatch
	waits   *floorWait // the fetch that has found nothing
}

// floorWait is a fetch of what is not there yet.
type floorWait struct {
	floorRequest
	fetch *kmsg.FetchRequest
}

func newFloorRelay() (*floorRelay, error) {
	file, err := os.CreateTemp("", "floor")
	if err != nil {
		return nil, err
	}
	return &floorRelay{file: file}, os.Remove(file.Name())
}

func (p *floorRelay) close() { p.file.Close() }

func (p *floorRelay) end() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next()
}

func (p *floorRelay) next() int64 {
	if len(p.batches) == 0 {
		return 0
	}
	return p.batches[len(p.batches)-1].last + 1
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (p *floorRelay) produce(batch []byte) (base int64, err error) {
	const upToCRC, upToAttributes, upToLastDelta = 17, 21, 27
	if len(batch) < upToLastDelta {
		return 0, errors.New("a batch without a header")
	}
	if crc32.Checksum(batch[upToAttributes:], castagnoli) != binary.BigEndian.Uint32(batch[upToCRC:]) {
		return 0, errors.New("the checksum of a batch is another one")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	base = p.next()
	binary.BigEndian.PutUint64(batch, uint64(base))
	b := floorBatch{last: base + int64(binary.BigEndian.Uint32(batch[upToLastDelta-4:])), size: len(batch)}
	if n := len(p.batches); n > 0 {
		b.at = p.batches[n-1].at + int64(p.batches[n-1].size)
	}
	if err := writeAt(int(p.file.Fd()), batch, b.at); err != nil {
		return 0, err
	}
	p.batches = append(p.batches, b)
	w := p.waits
	if w == nil || w.fetch.Topics[0].Partitions[0].FetchOffset > b.last {
		return base, nil
	}
	p.waits = nil
	if err := send(w.socket, append(w.beforeRecords(w.fetch, b.last+1, len(batch)), batch...), 0); !gone(err) {
		return base, err
	}
	return base, nil
}

// fetch sends what is there, or has what comes next sent.
func (p *floorRelay) fetch(r floorRequest, req *kmsg.FetchRequest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	offset := req.Topics[0].Partitions[0].FetchOffset
	if offset >= p.next() {
		p.waits = &floorWait{r, req}
		return nil
	}
	first, _ := slices.BinarySearchFunc(p.batches, offset, floorBatch.from)
	last := p.batches[len(p.batches)-1]
	records := make([]byte, last.at+int64(last.size)-p.batches[first].at)
	if _, err := p.file.ReadAt(records, p.batches[first].at); err != nil {
		return err
	}
	return send(r.socket, append(r.beforeRecords(req, last.last+1, len(records)), records...), 0)
}
