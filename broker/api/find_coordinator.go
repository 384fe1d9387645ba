package api

import (
	"context"
	"errors"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/txn"
)

// What a coordinator is looked for.
const (
	groupCoordinator       int8 = 0
	transactionCoordinator int8 = 1
	shareCoordinator       int8 = 2 // since version 6, and only in KRaft clusters
)

// findCoordinator tells clients which broker coordinates a group, or the transactions of
// a transactional id: the one that leads its partition of __consumer_offsets, or of
// __transaction_state. The topic is made when it is first asked for.
type findCoordinator struct {
	view     *cluster.View
	groups   *group.Coordinator
	txns     *txn.Coordinator
	topics   Topics
	log      *slog.Logger
	failures loglimit.Limit // lines about why there is no coordinator
}

func (h *findCoordinator) handle(ctx context.Context, r *server.Request, req *kmsg.FindCoordinatorRequest) (*kmsg.FindCoordinatorResponse, error) {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	q := coordinatorQuery{h: h, snapshot: h.view.Snapshot(), listener: r.Listener.Name, version: r.Header.Version}
	if r.Header.Version >= 1 {
		q.kind = req.CoordinatorType
	}
	if r.Header.Version >= 4 {
		resp.Coordinators = make([]kmsg.FindCoordinatorResponseCoordinator, len(req.CoordinatorKeys))
		for i, key := range req.CoordinatorKeys {
			resp.Coordinators[i] = q.answer(ctx, key)
		}
		return resp, nil
	}
	c := q.answer(ctx, req.CoordinatorKey)
	resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = c.ErrorCode, c.ErrorMessage, c.NodeID, c.Host, c.Port
	if c.ErrorMessage == nil || *c.ErrorMessage == "" {
		resp.ErrorMessage = stringPtr(errorText(c.ErrorCode))
	}
	return resp, nil
}

// errorText is what Kafka says of an error when it has no more to say, and of success.
func errorText(code int16) string {
	if known := kerr.TypedErrorForCode(code); known != nil {
		return known.Description
	}
	return "NONE"
}

// coordinatorQuery looks for the coordinators that one request asks for.
type coordinatorQuery struct {
	h        *findCoordinator
	snapshot *cluster.Snapshot
	listener string
	version  int16
	kind     int8
	created  bool // this request has had the topic created, or has tried
}

func (q *coordinatorQuery) answer(ctx context.Context, key string) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	c.Key, c.NodeID, c.Port, c.ErrorMessage = key, -1, -1, stringPtr("")
	switch q.kind {
	case groupCoordinator, transactionCoordinator:
		if leader, e, found := q.leader(ctx, key); found {
			c.NodeID, c.Host, c.Port = leader, e.Host, e.Port
		} else {
			c.ErrorCode = kerr.CoordinatorNotAvailable.Code
		}
	case shareCoordinator:
		c.ErrorCode = kerr.InvalidRequest.Code
		if q.version >= 6 {
			c.ErrorCode = kerr.CoordinatorNotAvailable.Code // as Kafka, which has none either
		}
	default:
		c.ErrorCode, c.ErrorMessage = kerr.InvalidRequest.Code, stringPtr(errorText(kerr.InvalidRequest.Code))
	}
	return c
}

// leader finds the broker that coordinates a group or a transactional id, as clients of
// the listener reach it.
func (q *coordinatorQuery) leader(ctx context.Context, key string) (id int32, e cluster.Endpoint, found bool) {
	tp := protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic}
	partitionFor := q.h.groups.PartitionFor
	if q.kind == transactionCoordinator {
		tp.Topic, partitionFor = protocol.TransactionStateTopic, q.h.txns.PartitionFor
	}
	if _, exists := q.snapshot.Topic(tp.Topic); !exists {
		if !q.created {
			q.created = true
			q.h.create(ctx, tp.Topic)
		}
		return -1, e, false
	}
	var err error
	if tp.Partition, err = partitionFor(ctx, key); err != nil {
		q.h.say("a coordinator cannot be found", tp.Topic, err)
		return -1, e, false
	}
	p, known := q.snapshot.Partition(tp)
	if !known {
		return -1, e, false
	}
	_, e, found = reachable(q.snapshot, p.Leader, q.listener)
	return p.Leader, e, found
}

// create has a coordinators' topic created. It does not wait for it: the client asks
// again.
func (h *findCoordinator) create(ctx context.Context, topic string) {
	err := h.topics.AutoCreate(ctx, topic)
	// It may be there already, and not known here, or be in the making.
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		h.say("a topic cannot be created, and until then nobody has a coordinator that keeps its state there", topic, err)
	}
}

func (h *findCoordinator) say(what, topic string, err error) {
	if h.failures.Say() {
		h.log.Warn(what, "topic", topic, "error", err)
	}
}
