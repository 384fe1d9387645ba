// Package producerstate keeps what one partition must know about its producers:
// the sequence numbers that make idempotent appends exact (KIP-98), the epochs
// that fence zombies, and the transactions that are open, which bound what a
// read_committed consumer may see.
package producerstate

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Origin says who appends; see record.Origin.
type Origin = record.Origin

// cachedBatches is how many of a producer's newest batches are remembered. A
// client keeps at most five requests in flight per connection, so that any batch
// it may send again is among them.
const cachedBatches = 5

// CachedBatch is what is remembered of a batch that was appended.
type CachedBatch struct {
	LastSequence int32
	OffsetDelta  int32 // last offset − first offset
	LastOffset   int64
	Timestamp    int64 // the batch's maximum timestamp, ms
}

func (c CachedBatch) FirstOffset() int64 { return c.LastOffset - int64(c.OffsetDelta) }
func (c CachedBatch) FirstSequence() int32 {
	return record.SubtractSequence(c.LastSequence, c.OffsetDelta)
}

// Producer is the state of one producer id.
type Producer struct {
	ID               int64
	Epoch            int16 // −1 if not known
	CoordinatorEpoch int32 // of the newest marker, −1 if there was none
	LastTimestamp    int64 // of the newest batch or marker, ms
	// TxnFirstOffset is where the open transaction begins, −1 if none is open.
	TxnFirstOffset int64

	batches [cachedBatches]CachedBatch // oldest first
	cached  int8
}

func newProducer(id int64) Producer {
	return Producer{
		ID:               id,
		Epoch:            record.NoProducerEpoch,
		CoordinatorEpoch: -1,
		LastTimestamp:    record.NoTimestamp,
		TxnFirstOffset:   -1,
	}
}

// LastBatch returns the newest batch; ok is false if none is remembered, as
// after a marker that brought a new epoch.
func (p *Producer) LastBatch() (b CachedBatch, ok bool) {
	if p.cached == 0 {
		return CachedBatch{}, false
	}
	return p.batches[p.cached-1], true
}

// LastSequence is the newest batch's last sequence number, −1 if none.
func (p *Producer) LastSequence() int32 {
	if b, ok := p.LastBatch(); ok {
		return b.LastSequence
	}
	return record.NoSequence
}

func (p *Producer) setEpoch(epoch int16) {
	if p.Epoch != epoch {
		p.Epoch = epoch
		p.cached = 0
	}
}

func (p *Producer) addBatch(b CachedBatch) {
	if p.cached == cachedBatches {
		copy(p.batches[:], p.batches[1:])
		p.cached--
	}
	p.batches[p.cached] = b
	p.cached++
}

// transaction is one producer's open or completed transaction.
type transaction struct {
	producerID  int64
	firstOffset int64
	marker      int64 // offset of the marker, −1 while open
	timestamp   int64 // of the first batch, ms
}

// CompletedTxn is a transaction that a marker has just ended.
type CompletedTxn struct {
	ProducerID  int64
	FirstOffset int64
	LastOffset  int64 // the marker's offset
	Aborted     bool
	// LastStableOffset is what the transaction index stores: the lowest first
	// offset among other producers' open transactions, else LastOffset + 1.
	LastStableOffset int64
}

// State is the producers of one partition. Its owner is the partition's log,
// under whose lock every method is called: it is not safe for concurrent use.
type State struct {
	expiration time.Duration
	producers  map[int64]*Producer // nil until there is one
	// open holds the open transactions, completed those whose marker may still
	// be above the high watermark; both ascend by first offset.
	open, completed []transaction
	endOffset       int64

	verificationRequired func() bool
	verifying            map[int64]*Verification // by producer id; nil until there is one
}

// New returns an empty state up to offset 0. A producer that has no open
// transaction and was silent for expiration is forgotten by Expire
// (producer.id.expiration.ms).
func New(expiration time.Duration) *State {
	return &State{expiration: expiration}
}

// EndOffset is the offset up to which, exclusively, batches have been taken into
// account.
func (s *State) EndOffset() int64 { return s.endOffset }

// Len is the number of producers.
func (s *State) Len() int { return len(s.producers) }

// Producers iterates over copies of the producers, in no order.
func (s *State) Producers() iter.Seq[Producer] {
	return func(yield func(Producer) bool) {
		for _, p := range s.producers {
			if !yield(*p) {
				return
			}
		}
	}
}

// Producer returns a copy of one producer's state.
func (s *State) Producer(id int64) (Producer, bool) {
	if p, ok := s.producers[id]; ok {
		return *p, true
	}
	return Producer{}, false
}

// Load replaces the state by the producers of a snapshot at endOffset, except
// those that have expired by nowMS.
func (s *State) Load(producers []Producer, endOffset, nowMS int64) {
	s.Reset(endOffset)
	for _, p := range producers {
		if s.expired(&p, nowMS) {
			continue
		}
		s.remember(&p)
		if p.TxnFirstOffset >= 0 {
			s.open = insert(s.open, transaction{producerID: p.ID, firstOffset: p.TxnFirstOffset, marker: -1, timestamp: p.LastTimestamp})
		}
	}
}

// Reset forgets everything; the state is then an empty one up to endOffset.
func (s *State) Reset(endOffset int64) {
	clear(s.producers)
	clear(s.verifying)
	s.open, s.completed = s.open[:0], s.completed[:0]
	s.endOffset = endOffset
}

// TruncateBefore notes that the log now starts at logStart. Producers stay, even
// if all their records are gone: they may go on with their sequence.
func (s *State) TruncateBefore(logStart int64) {
	s.forgetCompleted(logStart)
	s.endOffset = max(s.endOffset, logStart)
}

// Expire forgets the producers that have been silent for too long.
func (s *State) Expire(nowMS int64) {
	for id, p := range s.producers {
		if s.expired(p, nowMS) {
			delete(s.producers, id)
		}
	}
	s.expireVerifications(nowMS)
}

func (s *State) expired(p *Producer, nowMS int64) bool {
	return p.TxnFirstOffset < 0 && nowMS-p.LastTimestamp >= s.expiration.Milliseconds()
}

// HasOpenTransaction reports whether the producer has a transaction here that no
// marker has ended.
func (s *State) HasOpenTransaction(producerID int64) bool {
	p, ok := s.producers[producerID]
	return ok && p.TxnFirstOffset >= 0
}

// OpenTransaction is a transaction that no marker has ended here.
type OpenTransaction struct {
	ProducerID  int64
	FirstOffset int64
	// Timestamp is that of its first batch, ms, or, if the state was loaded, of the newest
	// one that the snapshot knows.
	Timestamp int64
}

// OldestTransaction is the open transaction with the lowest first offset: that which
// read_committed consumers wait for. ok is false if none is open.
func (s *State) OldestTransaction() (t OpenTransaction, ok bool) {
	if len(s.open) == 0 {
		return OpenTransaction{}, false
	}
	return OpenTransaction{s.open[0].producerID, s.open[0].firstOffset, s.open[0].timestamp}, true
}

// FirstUnstableOffset is the first offset that read_committed must not pass: the
// lowest first offset among the open transactions and those whose marker is not
// below highWatermark, for a marker that is not replicated may still be lost. ok
// is false if there is none. The high watermark must never be lower than in an
// earlier call.
func (s *State) FirstUnstableOffset(highWatermark int64) (offset int64, ok bool) {
	s.forgetCompleted(highWatermark)
	switch {
	case len(s.open) == 0 && len(s.completed) == 0:
		return 0, false
	case len(s.open) == 0:
		return s.completed[0].firstOffset, true
	case len(s.completed) == 0:
		return s.open[0].firstOffset, true
	}
	return min(s.open[0].firstOffset, s.completed[0].firstOffset), true
}

func (s *State) forgetCompleted(below int64) {
	if len(s.completed) > 0 {
		s.completed = slices.DeleteFunc(s.completed, func(t transaction) bool { return t.marker < below })
	}
}

// insert keeps ts ascending by first offset; new transactions nearly always
// belong at the end.
func insert(ts []transaction, t transaction) []transaction {
	i, _ := slices.BinarySearchFunc(ts, t, func(a, b transaction) int { return cmp.Compare(a.firstOffset, b.firstOffset) })
	return slices.Insert(ts, i, t)
}
