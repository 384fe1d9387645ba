package group

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// fakeLog is __consumer_offsets in memory. It acknowledges at once, unless it holds.
type fakeLog struct {
	mu         sync.Mutex
	partitions map[int32]*fakePartition
	maxBatch   int

	hold   bool
	held   []func(error)
	refuse error // of every append
	unread error // of every read
	reads  chan struct{}
	asked  func() // is called when the largest batch is asked for
}

type fakePartition struct {
	epoch   int32 // this broker leads in it; −1 if it does not
	batches []record.Batch
	end     int64
	appends int
}

func newFakeLog() *fakeLog {
	return &fakeLog{partitions: map[int32]*fakePartition{}, maxBatch: 1 << 20}
}

func (l *fakeLog) partition(n int32) *fakePartition {
	p := l.partitions[n]
	if p == nil {
		p = &fakePartition{epoch: -1}
		l.partitions[n] = p
	}
	return p
}

func (l *fakeLog) lead(n, epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partition(n).epoch = epoch
}

func (l *fakeLog) Append(n, epoch int32, batch record.Batch, acks int16, done func(int64, error)) {
	l.mu.Lock()
	p := l.partition(n)
	p.appends++
	err := l.refuse
	if p.epoch != epoch {
		err = kerr.NotLeaderForPartition
	}
	if err == nil && len(batch) > l.maxBatch {
		err = kerr.MessageTooLarge
	}
	base := p.end
	if err == nil {
		batch.SetBaseOffset(base)
		p.batches = append(p.batches, append(record.Batch(nil), batch...))
		p.end = batch.NextOffset()
	}
	if l.hold && err == nil && acks != 0 {
		l.held = append(l.held, func(err error) { done(base, err) })
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	done(base, err)
}

// acknowledge ends what is held, with err, and holds on or not.
func (l *fakeLog) acknowledge(err error, hold bool) {
	l.mu.Lock()
	held := l.held
	l.held, l.hold = nil, hold
	l.mu.Unlock()
	for _, done := range held {
		done(err)
	}
}

func (l *fakeLog) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

func (l *fakeLog) setHold(hold bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
}

func (l *fakeLog) setRefuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = err
}

func (l *fakeLog) MaxBatchBytes(int32) int {
	if l.asked != nil {
		l.asked()
	}
	return l.maxBatch
}

func (l *fakeLog) Bounds(n int32) (int64, int64, error) {
	if l.reads != nil {
		<-l.reads
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return 0, l.partition(n).end, l.unread
}

func (l *fakeLog) Read(dst []byte, n int32, from, end int64, maxBytes int32) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	began := len(dst)
	for _, b := range l.partition(n).batches {
		if nextOffset(b) <= from || b.BaseOffset() >= end {
			continue
		}
		if len(dst) > began && len(dst)+len(b) > began+int(maxBytes) {
			break
		}
		dst = append(dst, b...)
	}
	return dst, l.unread
}

// batchSizes returns how many records the batches of a partition have.
func (l *fakeLog) batchSizes(n int32) (sizes []int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.partition(n).batches {
		sizes = append(sizes, b.Count())
	}
	return sizes
}
