package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/txn"
)

// verifying is a partition of a Produce request that has to be verified.
type verifying struct {
	tp protocol.TopicPartition
	replica.Verification
}

// verify has the partitions verified in which a batch is the first of its transaction, all
// with one request to the coordinator, before any is appended. What cannot be appended
// then is in unverified.
func (p *producing) verify(ctx context.Context) {
	var producerID int64
	var epoch int16
	var list []verifying
	req := p.req // a copy: the walk has not begun
	for first := true; req.nextTopic(); {
		topic, known := p.hints.snapshot.Topic(string(req.topic))
		for req.nextPartition() {
			if !isTransactional(req.records) {
				continue
			}
			b := record.Batch(req.records)
			if !first && (b.ProducerID() != producerID || b.ProducerEpoch() != epoch) {
				p.refuse = kerr.InvalidProducerIDMapping // as with Kafka: one request, one producer
				break
			}
			first, producerID, epoch = false, b.ProducerID(), b.ProducerEpoch()
			if !known {
				continue
			}
			tp := protocol.TopicPartition{Topic: topic.Name, Partition: req.partition}
			if part, err := p.replicas.Partition(tp); err == nil {
				if v, needed, err := part.BeginVerification(producerID, epoch, b.BaseSequence()); err == nil && needed {
					list = append(list, verifying{tp, v})
				}
			}
		}
	}
	if len(list) > 0 {
		p.askCoordinator(ctx, producerID, epoch, list)
	}
}

func (p *producing) askCoordinator(ctx context.Context, producerID int64, epoch int16, list []verifying) {
	asked := make([]txn.Verified, len(list))
	for i := range list {
		asked[i].TopicPartition = list[i].tp
	}
	p.verifier.ask(ctx, string(p.req.transactionalID), producerID, epoch, asked)
	for i := range list {
		list[i].End(asked[i].Err == nil)
		if asked[i].Err == nil {
			continue
		}
		if p.unverified == nil {
			p.unverified = map[protocol.TopicPartition]error{}
		}
		p.unverified[list[i].tp] = unverifiedRecords(asked[i].Err, p.req.version)
	}
}
