package txn

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/statelog"
)

// InitRequest is an InitProducerId request with a transactional id.
type InitRequest struct {
	ID        string
	TimeoutMS int32 // of the producer's transactions
	// ProducerID and Epoch are the producer that goes on (KIP-360), or NoProducerID and
	// NoEpoch.
	ProducerID int64
	Epoch      int16
}

// InitResult answers an InitRequest.
type InitResult struct {
	ProducerID int64 // NoProducerID if there is an error
	Epoch      int16
	Err        error
}

// InitProducerID answers an InitProducerId request. Errors are kerr.InvalidRequest,
// InvalidTransactionTimeout, ProducerFenced (which is InvalidProducerEpoch before version
// 4), ConcurrentTransactions, CoordinatorNotAvailable, CoordinatorLoadInProgress,
// NotCoordinator, UnknownServerError, and those of Config.NextProducerID.
func (c *Coordinator) InitProducerID(q InitRequest, reply func(InitResult)) {
	r := &request{op: opInit, id: q.ID, producerID: q.ProducerID, epoch: q.Epoch, timeoutMS: q.TimeoutMS, fresh: NoProducerID, reply: reply}
	err := checkID(q.ID)
	switch {
	case (q.ProducerID == NoProducerID) != (q.Epoch == NoEpoch):
		err = kerr.InvalidRequest
	case err == nil && (q.TimeoutMS <= 0 || time.Duration(q.TimeoutMS)*time.Millisecond > c.settings.MaxTimeout):
		err = kerr.InvalidTransactionTimeout
	}
	c.dispatchIf(err, r)
}

// AddPartitions answers AddPartitionsToTxn for one transaction, and AddOffsetsToTxn with
// the group's partition of __consumer_offsets. The partitions must exist; the slice is
// the coordinator's from now on. Errors are kerr.InvalidRequest,
// InvalidProducerIDMapping, ProducerFenced (InvalidProducerEpoch before version 2),
// ConcurrentTransactions, CoordinatorNotAvailable, CoordinatorLoadInProgress,
// NotCoordinator, UnknownServerError.
func (c *Coordinator) AddPartitions(id string, producerID int64, epoch int16, partitions []protocol.TopicPartition, reply func(error)) {
	r := &request{op: opAdd, id: id, producerID: producerID, epoch: epoch, partitions: sorted(partitions), reply: onlyError(reply)}
	tooLong := func(tp protocol.TopicPartition) bool { return len(tp.Topic) > protocol.MaxTopicNameLength }
	err := checkID(id)
	if err == nil && slices.ContainsFunc(partitions, tooLong) {
		err = fmt.Errorf("a topic's name has at most %d characters: %w", protocol.MaxTopicNameLength, kerr.InvalidRequest)
	}
	c.dispatchIf(err, r)
}

// Verify answers AddPartitionsToTxn for one transaction that is only to be verified
// (KIP-890), at once: it sets the Err of each partition that the transaction is not in.
// The error is for all, and one of those of AddPartitions.
func (c *Coordinator) Verify(id string, producerID int64, epoch int16, partitions []Verified) error {
	if err := checkID(id); err != nil {
		return err
	}
	_, h, err := c.find(id)
	switch {
	case err != nil:
		return err
	case h == nil:
		return errIDMapping
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id.verify(producerID, epoch, partitions)
}

// End answers an EndTxn request: the transaction is to be committed, or aborted. It is
// answered when that is decided, in the log, and before markers are written. Errors are
// those of AddPartitions, and kerr.InvalidTxnState.
func (c *Coordinator) End(id string, producerID int64, epoch int16, commit bool, reply func(error)) {
	r := &request{op: opEnd, id: id, producerID: producerID, epoch: epoch, commit: commit, reply: onlyError(reply)}
	c.dispatchIf(checkID(id), r)
}

func onlyError(reply func(error)) func(InitResult) { return func(r InitResult) { reply(r.Err) } }

func (r *request) refuse(err error) {
	r.reply(InitResult{ProducerID: NoProducerID, Epoch: NoEpoch, Err: err})
}

// checkID refuses an id that there cannot be.
func checkID(id string) error {
	switch {
	case id == "":
		return kerr.InvalidRequest
	case len(id) > statelog.MaxString:
		return fmt.Errorf("a transactional id of %d bytes cannot be stored: at most %d: %w", len(id), statelog.MaxString, kerr.InvalidRequest)
	}
	return nil
}

// dispatchIf dispatches a request, or refuses it if there is an error.
func (c *Coordinator) dispatchIf(err error, r *request) {
	if err != nil {
		r.refuse(err)
		return
	}
	c.dispatch(r)
}

// dispatch finds the id that a request is about, or makes it.
func (c *Coordinator) dispatch(r *request) {
	p, h, err := c.find(r.id)
	switch {
	case err != nil:
	case h != nil:
	case r.op != opInit:
		err = errIDMapping
	case r.fresh == NoProducerID:
		p.spawn(r, c.withFreshID)
		return
	default:
		h, err = p.findOrCreate(r.id)
	}
	if err != nil {
		r.refuse(err)
		return
	}
	h.handle(r)
}

// withFreshID dispatches a request again when there is a new producer id for it.
func (c *Coordinator) withFreshID(p *partition, r *request) {
	id, err := c.nextID(p.ctx)
	if err != nil {
		r.refuse(err)
		return
	}
	r.fresh = id
	c.dispatch(r)
}
