package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

// hostedPartition finds a partition for requests that Kafka first looks up in
// the cluster's metadata: until that knows it, it does not exist, even if it is
// hosted here already. Other errors are those of replica.Replicas.Partition.
func hostedPartition(s *cluster.Snapshot, replicas *replica.Replicas, tp protocol.TopicPartition) (*replica.Partition, error) {
	if _, exists := s.Partition(tp); !exists {
		return nil, fmt.Errorf("%v: %w", tp, kerr.UnknownTopicOrPartition)
	}
	return replicas.Partition(tp)
}
