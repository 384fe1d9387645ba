package replica

import (
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
)

// OldTransaction is the oldest transaction that is open in a partition, for which its
// read_committed consumers wait.
type OldTransaction struct {
	Partition   protocol.TopicPartition
	ProducerID  int64
	FirstOffset int64
	Since       time.Time // the timestamp of its first batch; of a later one if the broker has started since
}

// OldTransactions tells of the oldest open transaction of every partition that this broker
// leads and that has any, in no order. One that is much older than
// transaction.max.timeout.ms hangs: DescribeProducers and Kafka's kafka-transactions.sh
// tell more of it, and end it.
func (r *Replicas) OldTransactions() (list []OldTransaction) {
	for p := range r.All() {
		role := p.role.Load()
		if role.gone != nil || !role.leading {
			continue
		}
		if t, open := role.log.OldestTransaction(); open {
			list = append(list, OldTransaction{p.tp, t.ProducerID, t.FirstOffset, time.UnixMilli(t.Timestamp)})
		}
	}
	return list
}
