package producerstate

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Verification is the question whether a producer's transaction is open in the partition,
// on its way to the coordinator, or its answer (KIP-890, part one). A transaction's first
// batch is appended only after the answer, and only if no marker has come since the
// question: a batch that was late, and came behind the marker of its transaction, would
// be the beginning of one that nothing ever ends.
type Verification struct {
	epoch    int16
	lowest   int32 // of the sequence numbers of the batches that have asked
	asking   int
	verified bool
	askedMS  int64
}

// RequireVerification has Check refuse, while required says so, the first batch of a
// transaction that was not verified. Without a call, none is refused.
func (s *State) RequireVerification(required func() bool) { s.verificationRequired = required }

func (s *State) mustVerify() bool { return s.verificationRequired != nil && s.verificationRequired() }

// BeginVerification begins to verify that a producer's transaction is open, and returns
// nil if that need not be: it is known to be, or verification is not required. Otherwise
// the coordinator is to be asked, and EndVerification to be called with what it says.
// sequence is that of the batch for which it is asked, record.NoSequence if it has none.
func (s *State) BeginVerification(id int64, epoch int16, sequence int32, nowMS int64) *Verification {
	if id < 0 || !s.mustVerify() || s.HasOpenTransaction(id) {
		return nil
	}
	v := s.verifying[id]
	switch {
	case v != nil && epoch < v.epoch: // of no use, whatever the answer is
		return &Verification{epoch: epoch, asking: 1}
	case v == nil || epoch > v.epoch:
		v = &Verification{epoch: epoch, lowest: sequence}
		if s.verifying == nil {
			s.verifying = map[int64]*Verification{}
		}
		s.verifying[id] = v
	}
	v.lowest = min(v.lowest, sequence)
	v.asking++
	v.askedMS = nowMS
	return v
}

// EndVerification notes whether the transaction is open. What was begun before the last
// marker of the producer is of no use.
func (s *State) EndVerification(producerID int64, v *Verification, open bool) {
	v.asking--
	v.verified = v.verified || open
	if v.asking == 0 && !v.verified && s.verifying[producerID] == v {
		delete(s.verifying, producerID)
	}
}

// checkVerified refuses the first batch of a transaction that was not verified.
func (s *State) checkVerified(b record.Batch) error {
	if !b.IsTransactional() || !s.mustVerify() || s.HasOpenTransaction(b.ProducerID()) {
		return nil
	}
	if v := s.verifying[b.ProducerID()]; v != nil && v.verified && v.epoch == b.ProducerEpoch() {
		return nil
	}
	return fmt.Errorf("producer %d sent a batch of a transaction that is not known to be open: %w", b.ProducerID(), kerr.InvalidTxnState)
}

// checkLowest refuses a batch that comes before another that was sent earlier, and has
// asked already whether its transaction is open: the log knows nothing of the sequence.
func (s *State) checkLowest(b record.Batch) error {
	v := s.verifying[b.ProducerID()]
	if v == nil || v.epoch != b.ProducerEpoch() || b.BaseSequence() <= v.lowest {
		return nil
	}
	return fmt.Errorf("producer %d sent sequence number %d before %d: %w", b.ProducerID(), b.BaseSequence(), v.lowest, kerr.OutOfOrderSequenceNumber)
}

// expireVerifications forgets answers that no batch has followed.
func (s *State) expireVerifications(nowMS int64) {
	for id, v := range s.verifying {
		if v.asking == 0 && nowMS-v.askedMS >= s.expiration.Milliseconds() {
			delete(s.verifying, id)
		}
	}
}
