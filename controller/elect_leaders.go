package controller

import (
	"context"
	"fmt"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ElectionResult is the outcome for one partition.
type ElectionResult struct {
	Leader int32 // the new one; brokers are about to hear of it
	// Err, if set, wraps kerr.ElectionNotNeeded, kerr.PreferredLeaderNotAvailable or
	// kerr.EligibleLeadersNotAvailable, kerr.InvalidTopicException (the topic is being
	// deleted) or kerr.UnknownTopicOrPartition, with Kafka's words.
	Err error
}

// ElectLeaders has leaders elected on request (KIP-183, KIP-460): with unclean false the
// first replica of each partition, if it is in sync, with true any live one for
// partitions that have no leader, whatever their topic's configuration says. Results are
// in the order of partitions. The error is for all, kerr.NotController or ctx's.
func (c *Controller) ElectLeaders(ctx context.Context, unclean bool, partitions []protocol.TopicPartition) ([]ElectionResult, error) {
	return ask(ctx, c, func(t *term) ([]ElectionResult, error) { return t.electLeaders(unclean, partitions) })
}

func (t *term) electLeaders(unclean bool, asked []protocol.TopicPartition) ([]ElectionResult, error) {
	why, failure, strategy := electPreferred, kerr.PreferredLeaderNotAvailable, "PreferredReplicaPartitionLeaderElectionStrategy"
	if unclean {
		why, failure, strategy = electUnclean, kerr.EligibleLeadersNotAvailable, "OfflinePartitionLeaderElectionStrategy(true)"
	}
	results := make([]ElectionResult, len(asked))
	var electing []*partition
	var places []int // of electing, in results
	for i, tp := range asked {
		p, err := t.electionNeeded(why, tp)
		if err != nil {
			results[i].Err = err
			continue
		}
		electing, places = append(electing, p), append(places, i)
	}
	if err := t.electAll(why, electing); err != nil {
		return nil, err
	}
	for i, p := range electing {
		if t.wellLed(why, p) {
			results[places[i]].Leader = p.state.Leader
		} else {
			results[places[i]].Err = fmt.Errorf("Failed to elect leader for partition %v under strategy %s: %w", p.TopicPartition, strategy, failure)
		}
	}
	return results, nil
}

// What a partition is refused with: made once, for a request may name 50,000.
var (
	errNoPartition  = fmt.Errorf("The partition does not exist.: %w", kerr.UnknownTopicOrPartition)
	errBeingDeleted = fmt.Errorf("The topic is being deleted: %w", kerr.InvalidTopicException)
	errWellLed      = fmt.Errorf("Leader election not needed for topic partition.: %w", kerr.ElectionNotNeeded)
)

// electionNeeded finds a partition that is to get another leader, or says why it is not.
func (t *term) electionNeeded(why election, tp protocol.TopicPartition) (*partition, error) {
	p, known := t.st.partition(tp)
	switch {
	case !known:
		return nil, errNoPartition
	case p.status == statusDeleting:
		return nil, errBeingDeleted
	case t.wellLed(why, p):
		return nil, errWellLed
	}
	return p, nil
}

// wellLed says whether a partition has a leader such as a kind of election gives it.
func (t *term) wellLed(why election, p *partition) bool {
	if !p.stored || p.state.Leader == zkmeta.NoLeader {
		return false
	}
	if why == electPreferred {
		return p.state.Leader == p.preferred()
	}
	return t.st.staying(p.state.Leader)
}
