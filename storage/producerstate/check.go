package producerstate

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Check decides whether the batch may be appended now, changing nothing. A
// batch without producer id always may.
//
// If the batch is an exact repetition of one of the producer's cached batches,
// dup is that one: the append must be answered with its offsets and timestamp,
// and nothing be written. Only a client's batches can be repetitions.
//
// Errors wrap kerr.InvalidProducerEpoch, OutOfOrderSequenceNumber,
// InvalidTxnState or TransactionCoordinatorFenced. Kafka has never-sent cousins
// of the second: for an unknown producer id any sequence is accepted, and a
// repetition that is too old for the cache is out of order.
//
// A coordinator's batches are checked for epochs only; what comes by replication
// was checked by the leader and is not to be checked again.
func (s *State) Check(b record.Batch, o Origin) (dup *CachedBatch, err error) {
	if !b.HasProducerID() || o == record.Replication {
		return nil, nil
	}
	p, known := s.producers[b.ProducerID()]
	switch {
	case b.IsControl() && known:
		return nil, p.checkMarker(b)
	case b.IsControl():
		return nil, nil
	case !known:
		return nil, s.checkFirst(b, o)
	}
	epoch := b.ProducerEpoch()
	if o == record.Client && epoch == p.Epoch {
		if c, ok := p.find(b.BaseSequence(), b.LastSequence()); ok {
			dup := c // so that only a repetition costs memory
			return &dup, nil
		}
	}
	if err := s.checkVerified(b); err != nil {
		return nil, err
	}
	if err := p.checkEpoch(epoch); err != nil {
		return nil, err
	}
	if o == record.Client {
		if err := s.checkLowest(b); err != nil {
			return nil, err
		}
		if err := p.checkSequence(epoch, b.BaseSequence()); err != nil {
			return nil, err
		}
	}
	if p.TxnFirstOffset >= 0 && !b.IsTransactional() {
		return nil, fmt.Errorf("producer %d, whose transaction is open since offset %d, sent a batch outside of it: %w", p.ID, p.TxnFirstOffset, kerr.InvalidTxnState)
	}
	return nil, nil
}

// find returns the cached batch with exactly these sequence numbers.
func (p *Producer) find(first, last int32) (CachedBatch, bool) {
	for _, c := range p.batches[:p.cached] {
		if c.LastSequence == last && c.FirstSequence() == first {
			return c, true
		}
	}
	return CachedBatch{}, false
}

// checkFirst checks a batch of a producer that nothing is known of.
func (s *State) checkFirst(b record.Batch, o record.Origin) error {
	if err := s.checkVerified(b); err != nil {
		return err
	}
	if err := checkFirstEpoch(b, o); err != nil || o != record.Client {
		return err
	}
	return s.checkLowest(b)
}

// checkFirstEpoch is checkEpoch for a client that nothing is known of. To Kafka it is
// as if its newest epoch were none, which is -1: only what is less is refused.
func checkFirstEpoch(b record.Batch, o record.Origin) error {
	if o == record.Client && b.ProducerEpoch() < record.NoProducerEpoch {
		return fmt.Errorf("producer %d came with the negative epoch %d: %w", b.ProducerID(), b.ProducerEpoch(), kerr.InvalidProducerEpoch)
	}
	return nil
}

func (p *Producer) checkEpoch(epoch int16) error {
	if epoch < p.Epoch {
		return fmt.Errorf("producer %d came with epoch %d, the newest seen is %d: %w", p.ID, epoch, p.Epoch, kerr.InvalidProducerEpoch)
	}
	return nil
}

func (p *Producer) checkSequence(epoch int16, first int32) error {
	if p.Epoch == record.NoProducerEpoch {
		return nil
	}
	if epoch != p.Epoch {
		if first != 0 {
			return fmt.Errorf("producer %d began epoch %d, after %d, with sequence number %d: %w", p.ID, epoch, p.Epoch, first, kerr.OutOfOrderSequenceNumber)
		}
		return nil
	}
	last := p.LastSequence()
	if int64(first) == int64(last)+1 || first == 0 && last == math.MaxInt32 {
		return nil
	}
	return fmt.Errorf("producer %d, epoch %d, sent sequence number %d after %d: %w", p.ID, epoch, first, last, kerr.OutOfOrderSequenceNumber)
}

func (p *Producer) checkMarker(b record.Batch) error {
	m, ok, err := record.ParseMarker(b)
	if err != nil || !ok {
		return err
	}
	if err := p.checkEpoch(b.ProducerEpoch()); err != nil {
		return err
	}
	if m.CoordinatorEpoch < p.CoordinatorEpoch {
		return fmt.Errorf("marker for producer %d of coordinator epoch %d, the newest seen is %d: %w", p.ID, m.CoordinatorEpoch, p.CoordinatorEpoch, kerr.TransactionCoordinatorFenced)
	}
	return nil
}
