package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/replica"
)

// adminClientID is the client id that may produce to internal topics.
const adminClientID = "__admin_client"

// produce appends records. The request is walked where it lies and the response
// written on the way, one partition after the other. With acks=all the response
// may then have to wait: see produceWait.
type produce struct {
	view     *cluster.View
	replicas *replica.Replicas
	verifier *verifyTxn
	codes    codes
}

// producing is one Produce request on its way through the handler.
type producing struct {
	*produce
	req      produceRequest
	append   replica.AppendRequest
	refuse   error // all partitions are refused with it
	hints    hints
	response produceResponse
	wait     *produceWait // nil until a partition has to wait
	failed   error        // the first error
	woken    replica.Woken
	// unverified is why partitions are refused whose transaction may not be open.
	unverified map[protocol.TopicPartition]error
	// described counts the records whose faults the response tells.
	described int
}

// maxDescribed bounds the faulty records that one response tells of: each takes
// dozens of bytes in it, and can take less than one in the request.
const maxDescribed = 10_000

func (h *produce) handle(ctx context.Context, r *server.Request) error {
	p := producing{produce: h, hints: hints{snapshot: h.view.Snapshot(), listener: r.Listener.Name}}
	if err := p.req.decode(r.Header.Version, r.Body); err != nil {
		return err
	}
	p.append = replica.AppendRequest{
		Origin:          record.Client,
		ProduceVersion:  r.Header.Version,
		Acks:            p.req.acks,
		InternalAllowed: r.Header.ClientID == adminClientID,
		Woken:           &p.woken,
	}
	defer p.woken.GoOn() // all of them, when all is appended
	transactional, err := p.req.transactional()
	switch {
	case err != nil:
		p.refuse = err
	case transactional && p.req.transactionalID == nil:
		p.refuse = kerr.TransactionalIDAuthorizationFailed
	case transactional:
		p.verify(ctx)
	}
	p.response = newProduceResponse(r.NewReply(), r.Header.Version, p.req.topics)
	for p.req.nextTopic() {
		if p.req.partitions > 0 {
			p.topic()
		}
	}
	p.response.end(p.hints.nodes)
	if r.More() { // those who wait get more of it, if others answer them
		p.woken.Leave()
	}
	switch {
	case p.req.acks == replica.AcksNone && p.failed != nil:
		// The producer waits for no answer: that the connection ends is how it
		// learns that it has to look for the leaders again.
		p.response.reply.Discard()
		return fmt.Errorf("produce with acks=0: %w", p.failed)
	case p.req.acks == replica.AcksNone:
		p.response.reply.Discard()
		r.NoReply()
	case p.wait != nil:
		p.wait.begin(r.Hold(p.response.reply), time.Duration(p.req.timeoutMS)*time.Millisecond)
	default:
		r.Send(p.response.reply)
	}
	return nil
}

// transactional reports whether a batch of the request says that it belongs to a
// transaction. Like Kafka it looks at the first batch of each partition, up to the
// first that is transactional, and fails where none can be told: then the whole
// request is refused.
func (p produceRequest) transactional() (bool, error) { // a copy: the walk is not over
	for p.nextTopic() {
		for p.nextPartition() {
			b, _, err := record.NextEntry(p.records)
			if errors.Is(err, kerr.CorruptMessage) {
				return false, err
			}
			if err == nil && isTransactional(b) {
				return true, nil
			}
		}
	}
	return false, nil
}

func isTransactional(records []byte) bool {
	if len(records) < record.HeaderSize {
		return false
	}
	b := record.Batch(records)
	return b.Magic() == 2 && b.IsTransactional()
}

func (p *producing) topic() {
	topic, known := p.hints.snapshot.Topic(string(p.req.topic))
	p.response.beginTopic(p.req.topic, p.req.partitions)
	for p.req.nextPartition() {
		out := producePartition{partition: p.req.partition, baseOffset: -1, appendTimeMS: -1, logStart: -1, currentLeader: noHint}
		if p.refuse != nil {
			p.fail(&out, p.refuse)
			out.message = message(p.refuse)
			p.response.partition(&out)
			continue
		}
		if !known {
			p.fail(&out, fmt.Errorf("topic %q: %w", p.req.topic, kerr.UnknownTopicOrPartition))
			p.response.partition(&out)
			continue
		}
		p.partition(topic, &out)
	}
	p.response.endTopic()
}

// partition appends to one partition and writes the outcome.
func (p *producing) partition(topic *cluster.Topic, out *producePartition) {
	tp := protocol.TopicPartition{Topic: topic.Name, Partition: p.req.partition}
	if _, exists := topic.Partition(tp.Partition); !exists {
		p.fail(out, fmt.Errorf("%v: %w", tp, kerr.UnknownTopicOrPartition))
		p.response.partition(out)
		return
	}
	if err := p.unverified[tp]; err != nil {
		p.fail(out, err)
		out.message = message(err)
		p.response.partition(out)
		return
	}
	part, result, err := p.appendTo(tp)
	if err != nil {
		p.fail(out, err)
		p.describe(out, tp, part, err)
		p.response.partition(out)
		return
	}
	out.baseOffset, out.appendTimeMS, out.logStart = result.BaseOffset, result.AppendTimeMS, result.LogStart
	codeAt := p.response.partition(out)
	if p.req.acks == replica.AcksAll {
		p.awaitReplication(part, &result, codeAt)
	}
}

func (p *producing) appendTo(tp protocol.TopicPartition) (*replica.Partition, replica.AppendResult, error) {
	part, err := p.replicas.Partition(tp)
	if err != nil {
		return nil, replica.AppendResult{}, err
	}
	result, err := part.Append(p.req.records, p.append)
	return part, result, err
}

func (p *producing) fail(out *producePartition, err error) {
	out.code = p.codes.of(err)
	if p.failed == nil {
		p.failed = err
	}
}

// noLogStart are the errors with which Kafka does not tell the log's start: it
// has not come as far as the log.
var noLogStart = []error{
	kerr.UnknownTopicOrPartition, kerr.NotLeaderForPartition, kerr.MessageTooLarge, kerr.RecordListTooLarge,
	kerr.CorruptMessage, kerr.KafkaStorageError, kerr.UnsupportedCompressionType, kerr.InvalidRequiredAcks, kerr.InvalidTopicException,
}

// isOneBatch is what Kafka asks of the records before it looks for the log.
func isOneBatch(records []byte) bool {
	_, rest, err := record.Next(records)
	return err == nil && len(rest) == 0
}

// describe adds to an error what helps the client.
func (p *producing) describe(out *producePartition, tp protocol.TopicPartition, part *replica.Partition, err error) {
	if p.req.version >= 10 && errors.Is(err, kerr.NotLeaderForPartition) {
		out.currentLeader = p.hints.leader(tp)
	}
	var invalid *record.InvalidRecordError
	if errors.As(err, &invalid) {
		out.recordErrors = invalid.RecordErrors[:min(len(invalid.RecordErrors), maxDescribed-p.described)]
		p.described += len(out.recordErrors)
		out.message = stringPtr(invalid.Text())
	}
	if part == nil || !isOneBatch(p.req.records) {
		return
	}
	for _, known := range noLogStart {
		if errors.Is(err, known) {
			return
		}
	}
	if log, err := part.Log(); err == nil {
		out.logStart = log.StartOffset()
	}
}

// awaitReplication has the response wait until the in-sync replicas have the
// batch, unless they have it already, as they do when this broker is alone.
func (p *producing) awaitReplication(part *replica.Partition, result *replica.AppendResult, codeAt int) {
	if isCommitted(part, result) {
		return // without an allocation: the common case
	}
	if p.wait == nil {
		p.wait = &produceWait{codes: p.codes}
	}
	if !p.wait.add(part, result.LastOffset+1, result.LeaderEpoch, codeAt) && len(p.wait.partitions) == 0 {
		p.wait = nil
	}
}

// isCommitted reports whether all in-sync replicas have the batch.
func isCommitted(part *replica.Partition, result *replica.AppendResult) bool {
	if epoch, leads := part.Leads(); !leads || epoch != result.LeaderEpoch {
		return false
	}
	log, err := part.Log()
	return err == nil && log.HighWatermark() > result.LastOffset
}
