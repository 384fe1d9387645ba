package differential

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Transactions. Each conversation has transactional ids of its own.

// txnProducer is a transactional producer.
type txnProducer struct {
	c     *conversation
	name  string
	id    int64
	epoch int16
}

// coordinatedKind is that of transactions.
const coordinatedKind = 1

// transactional makes a producer of a transactional id, the first or a newer one.
func (c *conversation) transactional(name string) *txnProducer {
	c.t.Helper()
	c.coordinated(coordinatedKind)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = ptr(c.topic(name)), 60000
	for range 300 {
		resp := c.quietly(req).(*kmsg.InitProducerIDResponse)
		switch resp.ErrorCode {
		case 0:
			return &txnProducer{c, c.topic(name), resp.ProducerID, resp.ProducerEpoch}
		case 14, 15, 16, 51:
			wait()
		default:
			c.t.Fatalf("%s: no producer id: %d", c.target.name, resp.ErrorCode)
		}
	}
	c.t.Fatalf("%s: no producer id", c.target.name)
	return nil
}

func (p *txnProducer) adding(version int16, partitions ...any) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	if version < 4 {
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.name, p.id, p.epoch
		for i := 0; i < len(partitions); i += 2 {
			req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: partitions[i].(string), Partitions: partitions[i+1].([]int32)})
		}
		return req
	}
	t := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: p.name, ProducerID: p.id, ProducerEpoch: p.epoch}
	for i := 0; i < len(partitions); i += 2 {
		t.Topics = append(t.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: partitions[i].(string), Partitions: partitions[i+1].([]int32)})
	}
	req.Transactions = append(req.Transactions, t)
	return req
}

// add begins a transaction, or adds to it, without putting that on record.
func (p *txnProducer) add(topic string, partitions ...int32) {
	p.c.t.Helper()
	resp := p.c.quietly(p.adding(3, topic, partitions)).(*kmsg.AddPartitionsToTxnResponse)
	for _, t := range resp.Topics {
		for _, q := range t.Partitions {
			if q.ErrorCode != 0 {
				p.c.t.Fatalf("%s: partition %d is not added: %d", p.c.target.name, q.Partition, q.ErrorCode)
			}
		}
	}
}

// send produces records in the transaction.
func (p *txnProducer) send(topic string, partition, sequence int32, values ...string) *kmsg.ProduceRequest {
	req := produceTo(topic, partition, newBatch(values...).producer(p.id, p.epoch, sequence).with(func(b *batch) { b.Attributes = 0x10 }).bytes())
	req.TransactionID, req.Acks = &p.name, -1
	return req
}

func (p *txnProducer) ending(commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.name, p.id, p.epoch, commit
	return req
}

// settled waits until every partition knows of the end of the transaction.
func (p *txnProducer) settled() {
	p.c.t.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{p.name}
	for range 300 {
		s := p.c.quietly(req).(*kmsg.DescribeTransactionsResponse).TransactionStates[0]
		if !strings.HasPrefix(s.State, "Prepare") {
			return
		}
		wait()
	}
	p.c.t.Fatalf("%s: the transaction does not end", p.c.target.name)
}

func (p *txnProducer) end(commit bool) {
	p.c.t.Helper()
	if code := p.c.quietly(p.ending(commit)).(*kmsg.EndTxnResponse).ErrorCode; code != 0 {
		p.c.t.Fatalf("%s: the transaction is not ended: %d", p.c.target.name, code)
	}
	p.settled()
}

// impostors are producers that p is not.
func (p *txnProducer) impostors() []*txnProducer {
	c := p.c
	return []*txnProducer{
		{c, p.name, p.id, p.epoch + 1}, {c, p.name, p.id, p.epoch - 1}, {c, p.name, p.id, -1},
		{c, p.name, firstInventedProducer, p.epoch}, {c, p.name, -1, -1},
		{c, c.topic("nobody"), p.id, p.epoch}, {c, "", p.id, p.epoch},
	}
}

// readCommitted puts on record what a read_committed consumer is told of a partition.
func (c *conversation) readCommitted(topic string) {
	req := fetchOne(topic, 0)
	req.IsolationLevel = 1
	c.askIn(11, req)
}

func fetchOne(topic string, partition int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes = 1 << 20
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.PartitionMaxBytes = partition, 1<<20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func transactionalIDCases() []spec {
	ask := func(c *conversation, name *string, timeout int32, id int64, epoch int16) *kmsg.InitProducerIDResponse {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = name, timeout, id, epoch
		resp, _ := c.ask(req).(*kmsg.InitProducerIDResponse)
		return resp
	}
	return []spec{
		{"transactional: new, and again", 0, 0, func(c *conversation) {
			c.transactional("tx") // when the coordinator has loaded
			for range 3 {
				ask(c, ptr(c.topic("tx")), 60000, -1, -1)
			}
		}},
		{"transactional: timeouts", 0, 0, func(c *conversation) {
			c.transactional("tx")
			for _, ms := range []int32{0, -1, 1, 900_000, 900_001, 2147483647} {
				ask(c, ptr(c.topic("tx")), ms, -1, -1)
			}
		}},
		{"transactional: recovers its epoch", 3, 0, func(c *conversation) {
			p := c.transactional("tx")
			name := &p.name
			ask(c, name, 60000, p.id, p.epoch)   // bumps
			ask(c, name, 60000, p.id, p.epoch)   // the retry
			ask(c, name, 60000, p.id, p.epoch+1) // bumps
			ask(c, name, 60000, p.id, p.epoch)   // too old
			ask(c, name, 60000, p.id, p.epoch+9)
			ask(c, name, 60000, firstInventedProducer, 0)
			ask(c, name, 60000, p.id, -1)
			ask(c, name, 60000, -1, 1)
			ask(c, ptr(c.topic("other")), 60000, p.id, p.epoch)
		}},
	}
}

func addPartitionsToTxnCases() []spec {
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			p := c.transactional("tx")
			c.ask(p.adding(c.version, a, []int32{0}))
			c.ask(p.adding(c.version, a, []int32{0, 1}))
			c.ask(p.adding(c.version, a, []int32{1}))
		}},
		{"unknown partitions", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			p := c.transactional("tx")
			c.ask(p.adding(c.version, a, []int32{0, 2}))
			c.ask(p.adding(c.version, c.topic("unknown"), []int32{0}, a, []int32{1}))
			c.ask(p.adding(c.version, a, []int32{-1}))
		}},
		{"impostors", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			p := c.transactional("tx")
			for _, q := range p.impostors() {
				c.ask(q.adding(c.version, a, []int32{0}))
			}
			p.add(a, 0)
			for _, q := range p.impostors() {
				c.ask(q.adding(c.version, a, []int32{0}))
			}
		}},
		{"verification", 4, 0, func(c *conversation) {
			a := c.create("a", 2)
			p := c.transactional("tx")
			verify := func(p *txnProducer) {
				req := p.adding(c.version, a, []int32{0, 1})
				req.Transactions[0].VerifyOnly = true
				c.ask(req)
			}
			verify(p)
			p.add(a, 0)
			verify(p)
			for _, q := range p.impostors() {
				verify(q)
			}
			p.end(true)
			verify(p)
		}},
		{"several transactions", 4, 0, func(c *conversation) {
			a := c.create("a", 1)
			p, q := c.transactional("tx"), c.transactional("ty")
			req := p.adding(c.version, a, []int32{0})
			req.Transactions = append(req.Transactions, q.adding(c.version, a, []int32{0}).Transactions...)
			q.add(a, 0)
			req.Transactions[1].VerifyOnly = true
			c.ask(req)
		}},
	}
}

func addOffsetsToTxnCases() []spec {
	adding := func(p *txnProducer, group string) *kmsg.AddOffsetsToTxnRequest {
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.name, p.id, p.epoch, group
		return req
	}
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			g := c.group("g")
			p := c.transactional("tx")
			c.ask(adding(p, g))
			c.ask(adding(p, g))
			for _, q := range p.impostors() {
				c.ask(adding(q, g))
			}
		}},
	}
}

func endTxnCases() []spec {
	return []spec{
		{"commit", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			p := c.transactional("tx")
			c.ask(p.ending(true)) // nothing has begun
			c.ask(p.ending(false))
			p.add(a, 0)
			c.quietly(p.send(a, 0, 0, "a", "b"))
			c.readCommitted(a)
			c.ask(p.ending(true))
			p.settled()
			c.readCommitted(a)
			c.ask(p.ending(true))
			c.ask(p.ending(false))
		}},
		{"abort", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			p := c.transactional("tx")
			p.add(a, 0)
			c.quietly(p.send(a, 0, 0, "a", "b"))
			c.ask(p.ending(false))
			p.settled()
			c.readCommitted(a)
			c.ask(p.ending(false))
			c.ask(p.ending(true))
			p.add(a, 0)
			c.quietly(p.send(a, 0, 2, "c"))
			c.ask(p.ending(true))
			p.settled()
			c.readCommitted(a)
		}},
		{"impostors", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			p := c.transactional("tx")
			p.add(a, 0)
			for _, q := range p.impostors() {
				c.ask(q.ending(true))
			}
			p.end(true)
			for _, q := range p.impostors() {
				c.ask(q.ending(true))
			}
		}},
	}
}

func txnOffsetCommitCases() []spec {
	committing := func(p *txnProducer, group, topic string, offset int64, partitions ...int32) *kmsg.TxnOffsetCommitRequest {
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = p.name, group, p.id, p.epoch
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic = topic
		for _, n := range partitions {
			q := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			q.Partition, q.Offset, q.LeaderEpoch, q.Metadata = n, offset, 3, ptr("m")
			t.Partitions = append(t.Partitions, q)
		}
		req.Topics = append(req.Topics, t)
		return req
	}
	stable := func(c *conversation, group, topic string, partitions ...int32) {
		req := fetching(7, group, topic, partitions...)
		req.RequireStable = true
		c.askIn(7, req)
	}
	begun := func(c *conversation, group string) *txnProducer {
		p := c.transactional("tx")
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.name, p.id, p.epoch, group
		c.quietly(req)
		return p
	}
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 2)
			p := begun(c, g)
			c.ask(committing(p, g, a, 5, 0, 1))
			c.committed(g, a, 0, 1)
			stable(c, g, a, 0, 1)
			p.end(true)
			c.committed(g, a, 0, 1)
			stable(c, g, a, 0, 1)
		}},
		{"abort", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 2)
			p := begun(c, g)
			c.ask(committing(p, g, a, 5, 0, 1))
			p.end(false)
			c.committed(g, a, 0, 1)
			stable(c, g, a, 0, 1)
		}},
		{"not in the transaction", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			p := c.transactional("tx")
			c.ask(committing(p, g, a, 5, 0))
		}},
		{"unknown partitions", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			p := begun(c, g)
			c.ask(committing(p, g, a, 5, 0, 1))
			c.ask(committing(p, g, c.topic("unknown"), 5, 0))
		}},
		{"impostors", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			p := begun(c, g)
			for _, q := range p.impostors()[:2] {
				c.ask(committing(q, g, a, 5, 0))
			}
			c.ask(committing(p.impostors()[5], g, a, 5, 0))
		}},
		{"members", 3, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			p := begun(c, g)
			for _, m := range []struct {
				id         string
				generation int32
			}{{"x", -1}, {"", 0}, {"", 1}, {"x", 1}} {
				req := committing(p, g, a, 5, 0)
				req.MemberID, req.Generation = m.id, m.generation
				c.ask(req)
			}
			c.ask(committing(p, "", a, 5, 0))
		}},
		{"metadata", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			p := begun(c, g)
			req := committing(p, g, a, 5, 0)
			req.Topics[0].Partitions[0].Metadata = ptr(strings.Repeat("x", 4097))
			c.ask(req)
		}},
	}
}

func writeTxnMarkersCases() []spec {
	marking := func(p *txnProducer, coordinatorEpoch int32, commit bool, topic string, partitions ...int32) *kmsg.WriteTxnMarkersRequest {
		req := kmsg.NewPtrWriteTxnMarkersRequest()
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch, m.Committed = p.id, p.epoch, coordinatorEpoch, commit
		m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: partitions}}
		req.Markers = append(req.Markers, m)
		return req
	}
	return []spec{
		{"an operator's abort", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			p := c.transactional("tx")
			p.add(a, 0)
			c.quietly(p.send(a, 0, 0, "a"))
			c.ask(marking(p, 0, false, a, 0))
			c.readCommitted(a)
			c.ask(marking(p, 0, false, a, 0))
			c.ask(marking(p, 5, true, a, 0, 1))
			c.ask(marking(p, 4, true, a, 0)) // an earlier coordinator
			older := *p
			older.epoch = -2
			c.ask(marking(&older, 5, true, a, 0))
			older.id = firstInventedProducer
			c.ask(marking(&older, 5, true, a, 0))
			older.epoch = -1
			c.ask(marking(&older, 5, true, a, 0))
			older.id = -1
			c.ask(marking(&older, 5, true, a, 0))
			c.ask(marking(p, 5, true, c.topic("unknown"), 0))
			c.ask(kmsg.NewPtrWriteTxnMarkersRequest())
		}},
	}
}

func describeProducersCases() []spec {
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			req := kmsg.NewPtrDescribeProducersRequest()
			req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: a, Partitions: []int32{0, 1}}, {Topic: c.topic("unknown"), Partitions: []int32{0}}}
			c.ask(req)
			p := c.transactional("tx")
			p.add(a, 0)
			c.quietly(p.send(a, 0, 0, "a", "b"))
			c.ask(req)
			p.end(true)
			c.norm.strip = map[string]bool{"CoordinatorEpoch": true} // how often the broker began to lead
			c.ask(req)
		}},
	}
}

func describeTransactionsCases() []spec {
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			p := c.transactional("tx")
			req := kmsg.NewPtrDescribeTransactionsRequest()
			req.TransactionalIDs = []string{p.name, c.topic("nobody"), ""}
			c.ask(req)
			req.TransactionalIDs = []string{p.name}
			p.add(a, 1, 0)
			c.ask(req)
			p.end(false)
			c.ask(req)
			req.TransactionalIDs = nil
			c.ask(req)
		}},
	}
}

func listTransactionsCases() []spec {
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			p := c.transactional("tx")
			p.add(a, 0)
			q := c.transactional("ty")
			ask := func(states ...string) {
				req := kmsg.NewPtrListTransactionsRequest()
				req.ProducerIDFilters, req.StateFilters = []int64{p.id, q.id}, states
				c.ask(req)
			}
			ask()
			ask("Ongoing")
			ask("Empty", "Ongoing", "ongoing", "Nonsense")
			ask("Nonsense")
			ask("Dead", "PrepareEpochFence")
			req := kmsg.NewPtrListTransactionsRequest()
			req.ProducerIDFilters = []int64{firstInventedProducer}
			c.ask(req)
		}},
		{"duration", 1, 0, func(c *conversation) {
			a := c.create("a", 1)
			p := c.transactional("tx")
			p.add(a, 0)
			q := c.transactional("ty")
			for _, ms := range []int64{-1, 3_600_000, -7} {
				req := kmsg.NewPtrListTransactionsRequest()
				req.ProducerIDFilters, req.DurationFilterMillis = []int64{p.id, q.id}, ms
				c.ask(req)
			}
		}},
	}
}
