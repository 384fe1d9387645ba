package broker

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Versions of requests: the last ones without tagged fields, or the only one.
const (
	wireAddPartitions = 2
	wireAddOffsets    = 2
	wireTxnCommit     = 2
	wireEndTxn        = 2
	wireDescribeTxn   = 0
)

// txnClient is a transactional producer that also commits offsets of a group. It belongs
// to one goroutine.
type txnClient struct {
	s         *simulation
	id, group string
	timeout   time.Duration // of its transactions
	// goesOn says that it does everything again until it is answered, as producers do.
	// Otherwise it is gone after the first error behind the failpoint.
	goesOn bool

	wire       wire
	ask        int32 // the broker that it asks for others
	producerID int64
	epoch      int16
	sequence   map[protocol.TopicPartition]int32
}

func newTxnClient(s *simulation, id, group string) *txnClient {
	return &txnClient{s: s, id: id, group: group, timeout: time.Minute, goesOn: true, ask: 1, wire: wire{process: s.clients}}
}

// txnPartitions are what a transaction writes to. Each has another leader, if there are
// three brokers.
var txnPartitions = []protocol.TopicPartition{{Topic: "t", Partition: 0}, {Topic: "t", Partition: 1}, {Topic: "u", Partition: 2}}

// txnPatience bounds how long a client goes on: longer than any fault takes.
const txnPatience = 2 * time.Minute

var errGone = errors.New("the client is gone")

// try makes attempts until one succeeds, or fails with what Kafka's producers do not try
// again after.
func (c *txnClient) try(what string, attempt func() error) error {
	for deadline := time.Now().Add(txnPatience); ; time.Sleep(100 * time.Millisecond) {
		err := attempt()
		if err == nil {
			return nil
		}
		var known *kerr.Error
		switch {
		case !c.goesOn && closed(c.s.failpoint.struck):
			return errGone
		case errors.As(err, &known) && !known.Retriable && known != kerr.ConcurrentTransactions, time.Now().After(deadline):
			return fmt.Errorf("%s: %w", what, err)
		}
		c.s.note("%s of %s: %v", what, c.id, err)
		c.ask = c.ask%int32(len(c.s.brokers)) + 1 // that one may not have heard of what has changed
	}
}

// coordinated sends a request to whoever coordinates a key.
func (c *txnClient) coordinated(kind int8, key string, req kmsg.Request, version int16) (kmsg.Response, error) {
	node, err := c.wire.coordinatorOf(c.ask, kind, key)
	if err != nil {
		return nil, err
	}
	return c.wire.ask(node, req, version, 3*time.Second)
}

// init begins a producer, and so ends whatever other used the id.
func (c *txnClient) init() error {
	return c.try("InitProducerId", func() error {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = &c.id, int32(c.timeout.Milliseconds())
		answer, err := c.coordinated(transactionKey, c.id, req, wireInitProducer)
		if err != nil {
			return err
		}
		resp := answer.(*kmsg.InitProducerIDResponse)
		if resp.ErrorCode == 0 {
			c.producerID, c.epoch, c.sequence = resp.ProducerID, resp.ProducerEpoch, map[protocol.TopicPartition]int32{}
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
}

func (c *txnClient) addPartitions() error {
	return c.try("AddPartitionsToTxn", func() error {
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = c.id, c.producerID, c.epoch
		for _, p := range txnPartitions {
			topic := kmsg.NewAddPartitionsToTxnRequestTopic()
			topic.Topic, topic.Partitions = p.Topic, []int32{p.Partition}
			if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == p.Topic {
				req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p.Partition)
				continue
			}
			req.Topics = append(req.Topics, topic)
		}
		answer, err := c.coordinated(transactionKey, c.id, req, wireAddPartitions)
		if err != nil {
			return err
		}
		for _, topic := range answer.(*kmsg.AddPartitionsToTxnResponse).Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// records is a request to write two records to a partition, in one batch.
func (c *txnClient) records(tp protocol.TopicPartition, value string) *kmsg.ProduceRequest {
	b := record.NewBuilder().SetProducer(c.producerID, c.epoch, c.sequence[tp]).SetTransactional(true)
	for range 2 {
		b.Append(time.Now().UnixMilli(), nil, []byte(value))
		c.sequence[tp]++
	}
	batch, err := b.Build()
	if err != nil {
		panic(err)
	}
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks, req.TimeoutMillis = &c.id, -1, 2000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = tp.Topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = tp.Partition, batch
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	return req
}

func (c *txnClient) produce(tp protocol.TopicPartition, value string) error {
	req := c.records(tp, value)
	return c.try("Produce to "+tp.String(), func() error {
		leader, err := c.leader(tp)
		if err != nil {
			return err
		}
		answer, err := c.wire.ask(leader, req, wireProduce, 3*time.Second)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
	})
}

func (c *txnClient) leader(tp protocol.TopicPartition) (int32, error) {
	found, err := c.wire.leadersOf(c.ask, tp.Topic)
	if err != nil {
		return -1, err
	}
	if found[tp.Partition].leader < 0 {
		return -1, kerr.LeaderNotAvailable
	}
	return found[tp.Partition].leader, nil
}

func (c *txnClient) addOffsets() error {
	return c.try("AddOffsetsToTxn", func() error {
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = c.id, c.producerID, c.epoch, c.group
		answer, err := c.coordinated(transactionKey, c.id, req, wireAddOffsets)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(answer.(*kmsg.AddOffsetsToTxnResponse).ErrorCode)
	})
}

// commitOffset commits an offset of partition 0 of the topic of the simulation.
func (c *txnClient) commitOffset(offset int64) error {
	return c.try("TxnOffsetCommit", func() error {
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = c.id, c.group, c.producerID, c.epoch
		topic := kmsg.NewTxnOffsetCommitRequestTopic()
		topic.Topic = simTopic
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Offset = offset
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		answer, err := c.coordinated(groupKey, c.group, req, wireTxnCommit)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(answer.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	})
}

func (c *txnClient) end(commit bool) error {
	return c.try("EndTxn", func() error {
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = c.id, c.producerID, c.epoch, commit
		answer, err := c.coordinated(transactionKey, c.id, req, wireEndTxn)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(answer.(*kmsg.EndTxnResponse).ErrorCode)
	})
}

// fill does all that belongs in a transaction.
func (c *txnClient) fill(value string, offset int64) error {
	steps := []func() error{c.addPartitions}
	for _, p := range txnPartitions {
		steps = append(steps, func() error { return c.produce(p, value) })
	}
	steps = append(steps, c.addOffsets, func() error { return c.commitOffset(offset) })
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// described asks what state the id is in.
func (c *txnClient) described() (string, error) {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{c.id}
	answer, err := c.coordinated(transactionKey, c.id, req, wireDescribeTxn)
	if err != nil {
		return "", err
	}
	state := answer.(*kmsg.DescribeTransactionsResponse).TransactionStates[0]
	return state.State, kerr.ErrorForCode(state.ErrorCode)
}

// ends asks where a partition ends for readers of each isolation level.
func (c *txnClient) ends(tp protocol.TopicPartition) (highWatermark, lastStable int64, err error) {
	leader, err := c.leader(tp)
	if err != nil {
		return 0, 0, err
	}
	var found [2]int64
	for level := range found {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID, req.IsolationLevel = -1, int8(level)
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = tp.Topic
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = tp.Partition, -1
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		answer, err := c.wire.ask(leader, req, wireListOffsets, 2*time.Second)
		if err != nil {
			return 0, 0, err
		}
		got := answer.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
			return 0, 0, err
		}
		found[level] = got.Offset
	}
	return found[0], found[1], nil
}

// readCommitted reads all of a partition as consumers do that see no more than what is
// committed.
func (c *txnClient) readCommitted(tp protocol.TopicPartition) (values []string, err error) {
	leader, err := c.leader(tp)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MinBytes, req.MaxBytes, req.SessionEpoch, req.IsolationLevel = -1, 1, 1<<20, -1, 1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = tp.Topic
	q := kmsg.NewFetchRequestTopicPartition()
	q.Partition, q.CurrentLeaderEpoch, q.PartitionMaxBytes = tp.Partition, -1, 1<<20
	topic.Partitions = append(topic.Partitions, q)
	req.Topics = append(req.Topics, topic)
	answer, err := c.wire.ask(leader, req, wireFetch, 3*time.Second)
	if err != nil {
		return nil, err
	}
	p := answer.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		return nil, err
	}
	return committedRecords(p.RecordBatches, p.AbortedTransactions)
}

// committedRecords leaves out what the list of aborted transactions, ascending by first
// offset, says.
func committedRecords(log []byte, aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction) (values []string, err error) {
	open := map[int64]bool{} // producers whose transaction here is aborted
	for len(log) > 0 {
		var b record.Batch
		if b, log, err = record.Next(log); err != nil {
			return nil, err
		}
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() {
			open[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		switch {
		case b.IsControl():
			if m, ok, err := record.ParseMarker(b); err != nil {
				return nil, err
			} else if ok && m.Type == record.ControlAbort {
				delete(open, b.ProducerID())
			}
			continue
		case b.IsTransactional() && open[b.ProducerID()]:
			continue
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				return nil, err
			}
			values = append(values, string(slices.Clone(r.Value)))
		}
	}
	return values, nil
}

// committedOffset asks what the group has committed, with no transaction open.
func (c *txnClient) committedOffset() (int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = c.group, true
	topic := kmsg.NewOffsetFetchRequestTopic()
	topic.Topic, topic.Partitions = simTopic, []int32{0}
	req.Topics = append(req.Topics, topic)
	answer, err := c.coordinated(groupKey, c.group, req, wireOffsetFetch)
	if err != nil {
		return 0, err
	}
	resp := answer.(*kmsg.OffsetFetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return 0, err
	}
	p := resp.Topics[0].Partitions[0]
	return p.Offset, kerr.ErrorForCode(p.ErrorCode)
}

// fenced says whether a producer was told that another has its place.
func fenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}
