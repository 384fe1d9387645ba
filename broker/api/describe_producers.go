package api

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
)

// describeProducers shows what partitions know of their producers.
type describeProducers struct {
	view     *cluster.View
	replicas *replica.Replicas
	codes    codes
}

func (h *describeProducers) handle(_ context.Context, _ *server.Request, req *kmsg.DescribeProducersRequest) (*kmsg.DescribeProducersResponse, error) {
	resp := kmsg.NewPtrDescribeProducersResponse()
	view := h.view.Snapshot()
	for i := range req.Topics {
		topic := kmsg.DescribeProducersResponseTopic{Topic: req.Topics[i].Topic}
		_, known := view.Topic(topic.Topic)
		for _, n := range req.Topics[i].Partitions {
			out := kmsg.DescribeProducersResponseTopicPartition{Partition: n}
			producers, err := h.producers(view, protocol.TopicPartition{Topic: topic.Topic, Partition: n})
			out.ErrorCode = h.codes.of(err)
			if !known { // the only error to which Kafka adds the text
				out.ErrorMessage = stringPtr(kerr.UnknownTopicOrPartition.Description)
			}
			for _, p := range producers {
				out.ActiveProducers = append(out.ActiveProducers, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
					ProducerID: p.ID, ProducerEpoch: int32(p.Epoch), LastSequence: p.LastSequence(), LastTimestamp: p.LastTimestamp,
					CoordinatorEpoch: p.CoordinatorEpoch, CurrentTxnStartOffset: p.TxnFirstOffset,
				})
			}
			topic.Partitions = append(topic.Partitions, out)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil
}

// producers are those of a partition that this broker has, whoever leads it.
func (h *describeProducers) producers(view *cluster.Snapshot, tp protocol.TopicPartition) ([]producerstate.Producer, error) {
	part, err := hostedPartition(view, h.replicas, tp)
	if err != nil {
		return nil, err
	}
	log, err := part.Log()
	if err != nil {
		return nil, err
	}
	list := log.Producers()
	slices.SortFunc(list, func(a, b producerstate.Producer) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}
