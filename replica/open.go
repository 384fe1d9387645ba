package replica

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// topicConfig is a topic's configuration, or why it could not be read.
type topicConfig struct {
	cfg *config.Topic
	err error
}

// configsOfNew reads the configurations of those topics that get a log here for
// the first time. Logs that are here already have theirs.
func (r *Replicas) configsOfNew(ctx context.Context, changes []RoleChange) map[string]topicConfig {
	configs := map[string]topicConfig{}
	for i := range changes {
		topic := changes[i].Partition.Topic
		if _, done := configs[topic]; done {
			continue
		}
		if _, here := r.store.Log(changes[i].Partition); !here {
			cfg, err := r.topicConfig(ctx, topic)
			configs[topic] = topicConfig{cfg, err}
		}
	}
	return configs
}

// openLog returns the partition's log, made if need be.
func (r *Replicas) openLog(c *RoleChange, configs map[string]topicConfig) (*commitlog.Log, error) {
	if log, ok := r.store.Log(c.Partition); ok {
		return log, log.SetTopicID(c.TopicID)
	}
	tc, ok := configs[c.Partition.Topic]
	if !ok { // two controllers at a time: the request that deletes was the newer
		return nil, fmt.Errorf("%v was deleted meanwhile: %w", c.Partition, kerr.UnknownTopicOrPartition)
	}
	if tc.err != nil {
		return nil, fmt.Errorf("create %v: read the topic's configuration: %w", c.Partition, tc.err)
	}
	return r.store.Create(c.Partition, c.TopicID, tc.cfg, c.IsNew)
}

// refreshConfigs reads the configurations of new logs once more: a change that
// was notified after the first reading and before the log was there has reached
// no log.
func (r *Replicas) refreshConfigs(ctx context.Context, configs map[string]topicConfig) {
	for topic, tc := range configs {
		if tc.err != nil {
			continue
		}
		if cfg, err := r.topicConfig(ctx, topic); err != nil {
			r.logger.Warn("a topic's configuration may be outdated until its next change", "topic", topic, "err", err)
		} else {
			r.store.SetTopicConfig(topic, cfg)
		}
	}
}
