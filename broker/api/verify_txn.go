package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/statelog"
	"github.com/gracchus-mq/gracchus/txn"
)

// verifyTxn asks the coordinator of a transactional id whether partitions are in its
// transaction (KIP-890, part one).
type verifyTxn struct {
	brokerID int32
	view     *cluster.View
	txns     *txn.Coordinator
	peers    Peers
	timeout  time.Duration
}

// maxVerified is of how many partitions one request asks.
const maxVerified = 1000

// ask sets the errors of partitions that are not in the transaction, or of which that is
// not known: kerr.TransactionAbortable and those of txn.Coordinator.Verify, and
// kerr.NetworkException for a coordinator that does not answer.
func (v *verifyTxn) ask(ctx context.Context, id string, producerID int64, epoch int16, partitions []txn.Verified) {
	for some := range slices.Chunk(partitions, maxVerified) {
		if err := v.askOnce(ctx, id, producerID, epoch, some); err != nil {
			for i := range some {
				some[i].Err = err
			}
		}
	}
}

func (v *verifyTxn) askOnce(ctx context.Context, id string, producerID int64, epoch int16, partitions []txn.Verified) error {
	s := v.view.Snapshot()
	topic, known := s.Topic(protocol.TransactionStateTopic)
	if !known {
		return kerr.CoordinatorNotAvailable
	}
	home, known := topic.Partition(statelog.PartitionFor(id, int32(len(topic.Partitions))))
	switch {
	case !known || home.Leader < 0:
		return kerr.CoordinatorNotAvailable
	case home.Leader == v.brokerID:
		return v.txns.Verify(id, producerID, epoch, partitions)
	}
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	resp, err := v.peers.Send(ctx, peer.Target{Broker: home.Leader, Purpose: peer.ForTransactions}, verification(id, producerID, epoch, partitions))
	if err != nil {
		return kerr.NetworkException
	}
	return v.answered(resp.(*kmsg.AddPartitionsToTxnResponse), id, partitions)
}

func verification(id string, producerID int64, epoch int16, partitions []txn.Verified) *kmsg.AddPartitionsToTxnRequest {
	t := kmsg.NewAddPartitionsToTxnRequestTransaction()
	t.TransactionalID, t.ProducerID, t.ProducerEpoch, t.VerifyOnly = id, producerID, epoch, true
	for _, p := range partitions {
		if n := len(t.Topics); n == 0 || t.Topics[n-1].Topic != p.Topic {
			topic := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
			topic.Topic = p.Topic
			t.Topics = append(t.Topics, topic)
		}
		topic := &t.Topics[len(t.Topics)-1]
		topic.Partitions = append(topic.Partitions, p.Partition)
	}
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Transactions = append(req.Transactions, t)
	return req
}

// answered reads what another coordinator has said. A partition that it does not mention
// is not known to be in the transaction.
func (v *verifyTxn) answered(resp *kmsg.AddPartitionsToTxnResponse, id string, partitions []txn.Verified) error {
	if resp.ErrorCode != 0 {
		return kerr.ErrorForCode(resp.ErrorCode)
	}
	said := map[protocol.TopicPartition]int16{}
	for _, t := range resp.Transactions {
		for _, topic := range t.Topics {
			for _, p := range topic.Partitions {
				if t.TransactionalID == id {
					said[protocol.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = p.ErrorCode
				}
			}
		}
	}
	for i := range partitions {
		code, known := said[partitions[i].TopicPartition]
		if partitions[i].Err = kerr.ErrorForCode(code); !known {
			partitions[i].Err = kerr.NetworkException
		}
	}
	return nil
}

// unverified is what a producer is told of an error of ask: in the versions that do not
// have it, something else for TRANSACTION_ABORTABLE.
func unverified(err error, abortable bool) error {
	switch {
	case errors.Is(err, kerr.ProducerFenced):
		return kerr.InvalidProducerEpoch
	case errors.Is(err, kerr.TransactionAbortable) && !abortable:
		return kerr.InvalidTxnState
	}
	return err
}

// retriable are the errors after which a producer shall send its records again. Older ones
// know them from other requests only, so that Kafka tells them something that they
// know, and that has them look for no leader.
var retriable = []*kerr.Error{
	kerr.ConcurrentTransactions, kerr.NetworkException, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator,
}

// unverifiedRecords is unverified for Produce, with the texts that Kafka tells producers.
func unverifiedRecords(err error, version int16) error {
	for _, e := range retriable {
		if errors.Is(err, e) {
			return fmt.Errorf("Unable to verify the partition has been added to the transaction. Underlying error: %s: %w", e.Message, kerr.NotEnoughReplicas)
		}
	}
	if err = unverified(err, version >= firstAbortableProduce); errors.Is(err, kerr.InvalidTxnState) {
		return fmt.Errorf("Partition was not added to the transaction: %w", kerr.InvalidTxnState)
	}
	return err
}

// firstAbortableProduce is the first version of Produce that has TRANSACTION_ABORTABLE,
// firstAbortableCommit that of TxnOffsetCommit.
const (
	firstAbortableProduce = 11
	firstAbortableCommit  = 4
)
