package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/txn"
)

// txnOffsetCommit has offsets committed that are valid when a transaction is.
type txnOffsetCommit struct {
	view     *cluster.View
	groups   *group.Coordinator
	replicas *replica.Replicas
	verifier *verifyTxn
	codes    codes
}

func (h *txnOffsetCommit) handle(ctx context.Context, r *server.Request, req *kmsg.TxnOffsetCommitRequest) (*kmsg.TxnOffsetCommitResponse, error) {
	c := h.commit(req)
	if len(c.Offsets) > 0 {
		if err := h.verify(ctx, r.Header.Version, req); err != nil {
			for i := range c.Offsets {
				c.Offsets[i].Err = err
			}
		} else if err := awaitCommit(ctx, h.groups, c); err != nil {
			return nil, err
		}
	}
	return h.response(r.Header.Version, req, c), nil
}

// commit is what there is to commit: offsets of partitions that exist.
func (h *txnOffsetCommit) commit(req *kmsg.TxnOffsetCommitRequest) *group.Commit {
	c := &group.Commit{
		Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation,
		Producer: &group.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch},
	}
	s := h.view.Snapshot()
	for i := range req.Topics {
		t := &req.Topics[i]
		topic, known := s.Topic(t.Topic)
		if !known {
			continue
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			addIfExists(c, topic, p.Metadata, group.CommitOffset{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, ExpireMS: group.NoExpiry, CommitMS: group.NoTime,
			})
		}
	}
	return c
}

// verify asks the coordinator whether the group's partition is in the transaction, if
// nothing of it is there yet. A group that has no name, or is not coordinated here, is the
// business of the groups' coordinator, which says so.
func (h *txnOffsetCommit) verify(ctx context.Context, version int16, req *kmsg.TxnOffsetCommitRequest) error {
	switch {
	case req.Group == "":
		return nil
	case req.ProducerID < 0:
		return kerr.InvalidProducerIDMapping
	case req.ProducerEpoch < 0:
		return kerr.InvalidProducerEpoch
	}
	n, err := h.groups.PartitionFor(ctx, req.Group)
	if err != nil {
		return nil
	}
	tp := protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic, Partition: n}
	part, err := h.replicas.Partition(tp)
	if err != nil {
		return nil
	}
	v, needed, err := part.BeginVerification(req.ProducerID, req.ProducerEpoch, record.NoSequence)
	if err != nil || !needed {
		return nil
	}
	asked := []txn.Verified{{TopicPartition: tp}}
	h.verifier.ask(ctx, req.TransactionalID, req.ProducerID, req.ProducerEpoch, asked)
	v.End(asked[0].Err == nil)
	if errors.Is(asked[0].Err, kerr.NetworkException) {
		return kerr.CoordinatorLoadInProgress
	}
	return unverified(asked[0].Err, version >= firstAbortableCommit)
}

// response says for each partition of the request what came of it.
func (h *txnOffsetCommit) response(version int16, req *kmsg.TxnOffsetCommitRequest, c *group.Commit) *kmsg.TxnOffsetCommitResponse {
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	resp.Topics = make([]kmsg.TxnOffsetCommitResponseTopic, len(req.Topics))
	outcomes := commitOutcomes(c.Offsets)
	for i := range req.Topics {
		t := &req.Topics[i]
		out := &resp.Topics[i]
		out.Topic = t.Topic
		out.Partitions = make([]kmsg.TxnOffsetCommitResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p := &out.Partitions[j]
			p.Partition = t.Partitions[j].Partition
			p.ErrorCode = h.code(version, outcomes.next(t.Topic, p.Partition))
		}
	}
	return resp
}

// code is the code of an error in a version: the first ones do not have that the
// coordinator loads.
func (h *txnOffsetCommit) code(version int16, err error) int16 {
	code := h.codes.of(err)
	if version < 2 && code == kerr.CoordinatorLoadInProgress.Code {
		return kerr.CoordinatorNotAvailable.Code
	}
	return code
}
