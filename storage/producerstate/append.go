package producerstate

import (
	"slices"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Append takes a batch into account whose offsets are final. A leader calls
// Check before; a follower and recovery do not, for what is in the log counts,
// even if it violates a rule. It returns the transaction that the batch ended,
// if it is a marker and there was one.
func (s *State) Append(b record.Batch) *CompletedTxn {
	var ended *CompletedTxn
	switch {
	case !b.HasProducerID():
	case b.IsControl():
		ended = s.appendMarker(b)
	default:
		s.appendData(b)
	}
	s.endOffset = b.NextOffset()
	return ended
}

func (s *State) appendData(b record.Batch) {
	p := s.producer(b.ProducerID())
	p.setEpoch(b.ProducerEpoch())
	p.addBatch(CachedBatch{
		LastSequence: b.LastSequence(),
		OffsetDelta:  b.LastOffsetDelta(),
		LastOffset:   b.LastOffset(),
		Timestamp:    b.MaxTimestamp(),
	})
	p.LastTimestamp = b.MaxTimestamp()
	if b.IsTransactional() {
		delete(s.verifying, p.ID)
	}
	if b.IsTransactional() && p.TxnFirstOffset < 0 {
		p.TxnFirstOffset = b.BaseOffset()
		s.open = insert(s.open, transaction{producerID: p.ID, firstOffset: p.TxnFirstOffset, marker: -1, timestamp: b.MaxTimestamp()})
	}
}

func (s *State) appendMarker(b record.Batch) *CompletedTxn {
	m, ok, err := record.ParseMarker(b)
	if err != nil || !ok {
		// Compaction has emptied the batch, so that its transaction is gone, or
		// it ends no transaction at all.
		return nil
	}
	p := s.producer(b.ProducerID())
	delete(s.verifying, p.ID)
	p.setEpoch(b.ProducerEpoch())
	p.CoordinatorEpoch = m.CoordinatorEpoch
	p.LastTimestamp = b.MaxTimestamp()
	if p.TxnFirstOffset < 0 {
		return nil // a marker without data concerns no reader
	}
	ended := &CompletedTxn{
		ProducerID:       p.ID,
		FirstOffset:      p.TxnFirstOffset,
		LastOffset:       b.BaseOffset(),
		Aborted:          m.Type == record.ControlAbort,
		LastStableOffset: b.BaseOffset() + 1,
	}
	p.TxnFirstOffset = -1
	s.open = slices.DeleteFunc(s.open, func(t transaction) bool { return t.producerID == p.ID })
	if len(s.open) > 0 {
		ended.LastStableOffset = s.open[0].firstOffset
	}
	s.completed = insert(s.completed, transaction{producerID: p.ID, firstOffset: ended.FirstOffset, marker: ended.LastOffset})
	return ended
}

func (s *State) remember(p *Producer) {
	if s.producers == nil {
		s.producers = map[int64]*Producer{}
	}
	s.producers[p.ID] = p
}

func (s *State) producer(id int64) *Producer {
	p, ok := s.producers[id]
	if !ok {
		fresh := newProducer(id)
		p = &fresh
		s.remember(p)
	}
	return p
}
