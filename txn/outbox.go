package txn

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/protocol"
)

// A request has at most so many markers, over all partitions, and about so many bytes:
// brokers take no more than a MiB of it.
const (
	maxMarkers     = 5000
	maxMarkerBytes = 512 << 10
)

// markerSize bounds from above what a partition takes in a request.
func markerSize(tp protocol.TopicPartition) int {
	const perTransaction, perPartition = 32, 16
	return perTransaction + perPartition + len(tp.Topic)
}

// outbox is the line of markers for one broker, which has one request on its way at a
// time: what comes meanwhile shares the next. The lock of markers guards it.
type outbox struct {
	jobs []*job // in the order in which they came
	// partitions of each of jobs, and of none else
	partitions map[*job][]protocol.TopicPartition
}

// outbox returns the line of a broker, for which there is a goroutine. mu is held.
func (m *markers) outbox(broker int32) *outbox {
	o := m.outboxes[broker]
	if o == nil {
		o = &outbox{partitions: map[*job][]protocol.TopicPartition{}}
		m.outboxes[broker] = o
		m.background.Go(func() { m.send(broker, o) })
	}
	return o
}

func (o *outbox) add(j *job, tp protocol.TopicPartition) {
	partitions, there := o.partitions[j]
	if !there {
		o.jobs = append(o.jobs, j)
	}
	o.partitions[j] = append(partitions, tp)
}

// marking is a job in a request.
type marking struct {
	*job
	partitions []protocol.TopicPartition
}

// take takes what goes into the next request.
func (o *outbox) take() (list []marking) {
	n, size := 0, 0
	for len(o.jobs) > 0 && n < maxMarkers && size < maxMarkerBytes {
		j := o.jobs[0]
		partitions := o.partitions[j]
		fits := 0
		for fits < len(partitions) && n+fits < maxMarkers && size < maxMarkerBytes {
			size += markerSize(partitions[fits])
			fits++
		}
		taken := partitions[:fits]
		if len(taken) < len(partitions) {
			o.partitions[j] = partitions[len(taken):]
		} else {
			o.jobs = o.jobs[1:]
			delete(o.partitions, j)
		}
		if !j.ended {
			n += len(taken)
			list = append(list, marking{j, taken})
		}
	}
	return list
}

// send sends to a broker until its line is empty.
func (m *markers) send(broker int32, o *outbox) {
	for {
		m.mu.Lock()
		list := o.take()
		if len(list) == 0 || m.ctx.Err() != nil {
			delete(m.outboxes, broker)
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		codes, err := m.write(broker, list)
		if err != nil {
			m.say("markers of transactions could not be sent, and are tried again", "broker", broker, "transactions", len(list), "err", err)
		}
		for _, j := range m.written(broker, list, codes) {
			j.of.marked()
		}
	}
}

// written goes on when a request was answered, or not, and returns the jobs that are
// done.
func (m *markers) written(broker int32, list []marking, codes markerCodes) (done []*job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range list {
		for _, tp := range k.partitions {
			code, answered := codes[markerOf{k.producerID, tp}]
			if !answered {
				m.retry(k.job, tp)
				continue
			}
			m.answered(broker, k.job, tp, kerr.ErrorForCode(code))
		}
		if m.finishIfDone(k.job) {
			done = append(done, k.job)
		}
	}
	return done
}

// answered goes on with what a broker has said of one marker. mu is held.
func (m *markers) answered(broker int32, j *job, tp protocol.TopicPartition, err error) {
	switch {
	case j.ended:
	case err == nil, errors.Is(err, kerr.UnsupportedForMessageFormat), errors.Is(err, kerr.UnsupportedVersion):
		j.left-- // or the partition takes no transactions, and has nothing of this one
	case errors.Is(err, kerr.InvalidProducerEpoch):
		// The partition has seen a later epoch of the producer, which is given only when
		// all markers are written: the log of transactions must have lost something. It
		// will not take this marker, ever. Kafka leaves the id hanging.
		m.logger.Error("a partition knows a later epoch of a producer than its coordinator, and takes no marker", "partition", tp, "producer", j.producerID, "epoch", j.epoch, "err", err)
		j.left--
	case errors.Is(err, kerr.TransactionCoordinatorFenced):
		m.logger.Warn("another broker coordinates a transaction by now", "partition", tp, "producer", j.producerID, "epoch", j.coordinatorEpoch)
		m.finish(j)
	default:
		m.say("a marker of a transaction could not be written, and is tried again", "partition", tp, "broker", broker, "err", err)
		m.retry(j, tp)
	}
}

// markerOf names a marker in a response.
type markerOf struct {
	producerID int64
	protocol.TopicPartition
}

// markerCodes is what a response says of each marker.
type markerCodes map[markerOf]int16

// write sends one request and returns what came of it, nothing if it fails.
func (m *markers) write(broker int32, list []marking) (markerCodes, error) {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	for _, k := range list {
		req.Markers = append(req.Markers, k.message())
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.timeout)
	defer cancel()
	resp, err := m.sender.Send(ctx, peer.Target{Broker: broker, Purpose: peer.ForTransactions}, req)
	if err != nil {
		return nil, err
	}
	codes := markerCodes{}
	for _, marker := range resp.(*kmsg.WriteTxnMarkersResponse).Markers {
		for _, topic := range marker.Topics {
			for _, p := range topic.Partitions {
				codes[markerOf{marker.ProducerID, protocol.TopicPartition{Topic: topic.Topic, Partition: p.Partition}}] = p.ErrorCode
			}
		}
	}
	return codes, nil
}

func (k *marking) message() kmsg.WriteTxnMarkersRequestMarker {
	marker := kmsg.NewWriteTxnMarkersRequestMarker()
	marker.ProducerID, marker.ProducerEpoch = k.producerID, k.epoch
	marker.Committed, marker.CoordinatorEpoch = k.commit(), k.coordinatorEpoch
	slices.SortFunc(k.partitions, protocol.TopicPartition.Compare)
	for _, tp := range k.partitions {
		if n := len(marker.Topics); n == 0 || marker.Topics[n-1].Topic != tp.Topic {
			topic := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
			topic.Topic = tp.Topic
			marker.Topics = append(marker.Topics, topic)
		}
		topic := &marker.Topics[len(marker.Topics)-1]
		topic.Partitions = append(topic.Partitions, tp.Partition)
	}
	return marker
}
