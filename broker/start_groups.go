package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
)

// buildGroups makes the coordinator of consumer groups, which hears from now on of the
// partitions of __consumer_offsets that this broker comes to lead.
func (p *parts) buildGroups() (err error) {
	p.groups, err = group.New(group.Config{
		Settings:   group.SettingsOf(p.cfg, p.env.groupMemory()),
		Partitions: func(ctx context.Context) (int32, error) { return p.partitionsOf(ctx, protocol.ConsumerOffsetsTopic) },
		Logger:     p.logger,
	}, p.replicas.TopicLog(protocol.ConsumerOffsetsTopic))
	if err != nil {
		return err
	}
	p.replicas.Subscribe(p.groups.RoleChanged)
	return nil
}

// partitionsOf reads how many partitions a topic has, 0 if there is no such topic. Which
// of them have a leader does not matter, so that it is ZooKeeper that is asked.
func (p *parts) partitionsOf(ctx context.Context, topic string) (int32, error) {
	found, err := p.zk.TopicAssignments(ctx, []string{topic}, nil)
	switch {
	case err != nil:
		return 0, err
	case errors.Is(found[0].Err, kerr.UnknownTopicOrPartition):
		return 0, nil
	case found[0].Err != nil:
		return 0, found[0].Err
	}
	return int32(len(found[0].Partitions)), nil
}

func (p *parts) startGroups(ctx context.Context) error { return p.groups.Start(ctx) }

// stopGroups comes when the server has drained: commits that were under way are done.
func (p *parts) stopGroups(ctx context.Context) error { return p.groups.Stop(ctx) }
