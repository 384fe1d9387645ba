package controller

import (
	"slices"
	"time"
)

// firstRebalance is when a new controller looks for the first time whether leaderships
// are where they should be, as Kafka's does.
const firstRebalance = 5 * time.Second

// rebalanceAfter has the loop look at the leaderships after a while, if it is configured
// to at all.
func (t *term) rebalanceAfter(wait time.Duration) {
	if t.cfg.Settings.Broker().Leaders.AutoRebalance {
		t.rebalanceTimer = time.AfterFunc(wait, func() { t.c.inbox.put(func(e *events) { e.rebalance = true }) })
	}
}

// rebalance moves leaderships back to preferred replicas, where too many are elsewhere.
func (t *term) rebalance() error {
	leaders := t.cfg.Settings.Broker().Leaders
	t.rebalanceAfter(leaders.ImbalanceCheck)
	moving := t.st.imbalanced(leaders.ImbalancePercentage)
	if len(moving) == 0 {
		return nil
	}
	t.logger.Info("moving leaderships back to preferred replicas", "partitions", len(moving))
	return t.electAll(electPreferred, moving)
}

// imbalanced returns partitions, ordered, whose preferred replica can lead and does not:
// of those brokers only of whose preferred partitions more than percentage percent are
// led by others.
func (s *state) imbalanced(percentage int32) []*partition {
	type share struct{ all, elsewhere int }
	shares := map[int32]*share{} // by preferred broker
	elsewhere := s.selectPartitions(func(p *partition) bool {
		if p.status == statusDeleting {
			return false
		}
		of := shares[p.preferred()]
		if of == nil {
			of = &share{}
			shares[p.preferred()] = of
		}
		of.all++
		if !p.stored || p.state.Leader == p.preferred() {
			return false
		}
		of.elsewhere++
		return true
	})
	var moving []*partition
	for _, p := range elsewhere {
		of := shares[p.preferred()]
		tooMany := int64(of.elsewhere)*100 > int64(of.all)*int64(percentage)
		if tooMany && s.online(p.preferred(), p.TopicPartition) && slices.Contains(p.state.ISR, p.preferred()) {
			moving = append(moving, p)
		}
	}
	return moving
}
