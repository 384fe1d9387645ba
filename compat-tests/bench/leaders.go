package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// settleLimit is how long brokers that were started again may take to be as they were.
const settleLimit = 5 * time.Minute

// witness asks one broker, and no other, what it knows of the cluster.
type witness struct{ client *kgo.Client }

func (c cluster) witnesses() (all []witness, err error) {
	for _, broker := range c {
		client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr))
		if err != nil {
			return nil, err
		}
		all = append(all, witness{client})
	}
	return all, nil
}

func closeAll(witnesses []witness) {
	for _, w := range witnesses {
		w.client.Close()
	}
}

// describe returns what the broker tells clients of a topic, or of none.
func (w witness) describe(ctx context.Context, topics ...string) (*kmsg.MetadataResponse, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		request.Topics = append(request.Topics, topic)
	}
	response, err := w.client.SeedBrokers()[0].Request(ctx, request)
	if err != nil {
		return nil, err
	}
	return response.(*kmsg.MetadataResponse), nil
}

// until asks for one topic after the other, for each until all its partitions are as
// they are to be. What is so of a topic must stay so.
func (w witness) until(ctx context.Context, topics []string, is func(topic string, p kmsg.MetadataResponseTopicPartition) bool) error {
	for _, topic := range topics {
		for {
			m, err := w.describe(ctx, topic)
			if err != nil {
				return err
			}
			partitions := m.Topics[0].Partitions
			if len(partitions) > 0 && !slices.ContainsFunc(partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return !is(topic, p) }) {
				break
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("partitions of %s are not as they should be: %w", topic, ctx.Err())
			}
		}
	}
	return nil
}

// untilAll waits until all brokers see all partitions as they are to be.
func (c cluster) untilAll(limit time.Duration, topics []string, is func(topic string, p kmsg.MetadataResponseTopicPartition) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	witnesses, err := c.witnesses()
	if err != nil {
		return err
	}
	defer closeAll(witnesses)
	seen := make(chan error, len(witnesses))
	for _, w := range witnesses {
		go func() { seen <- w.until(ctx, topics, is) }()
	}
	for range witnesses {
		err = errors.Join(err, <-seen)
	}
	return err
}

// untilComplete waits until each broker knows all of them.
func (c cluster) untilComplete() error {
	witnesses, err := c.witnesses()
	if err != nil {
		return err
	}
	defer closeAll(witnesses)
	ctx, cancel := context.WithTimeout(context.Background(), settleLimit)
	defer cancel()
	for _, w := range witnesses {
		for known := 0; known < len(c); {
			m, err := w.describe(ctx)
			if err != nil {
				return err
			}
			known = len(m.Brokers)
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// allInSync fails if a topic has lost an in-sync replica: what was measured would be of
// fewer replicas than it says.
func (c cluster) allInSync(topic string) error {
	witnesses, err := c[:1].witnesses()
	if err != nil {
		return err
	}
	defer closeAll(witnesses)
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	m, err := witnesses[0].describe(ctx, topic)
	if err != nil {
		return err
	}
	for _, p := range m.Topics[0].Partitions {
		if len(p.ISR) < len(c) {
			return fmt.Errorf("%s-%d has %d in-sync replicas on %d brokers", topic, p.Partition, len(p.ISR), len(c))
		}
	}
	return nil
}

// settle starts the brokers again that have ended, and has every replica in sync and
// every partition led by the broker that is named first, so that each round begins alike.
func (b *bench) settle(subject string, topics []string) (cluster, error) {
	c := b.running[subject]
	for i, broker := range c {
		if broker.Ended() {
			b.progress.say(fmt.Sprintf("starting %s, broker %d", subject, i+1))
			c[i] = b.launch(subject, broker.Options)
		}
	}
	b.progress.say("until all replicas are in sync: " + subject)
	err := c.untilAll(settleLimit, topics, func(_ string, p kmsg.MetadataResponseTopicPartition) bool { return len(p.ISR) == len(c) })
	if err != nil {
		return nil, err
	}
	err = withAdmin(c.addr(), func(ctx context.Context, admin *kadm.Client) error {
		_, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, c.untilAll(settleLimit, topics, func(_ string, p kmsg.MetadataResponseTopicPartition) bool { return p.Leader == p.Replicas[0] })
}

// createReplicated creates topics, each with partitions that all brokers share, in the
// clusters that run.
func (b *bench) createReplicated(topics []string, each int) error {
	for _, subject := range b.brokers {
		for i, topic := range topics {
			b.progress.say(fmt.Sprintf("creating topic %d of %d: %s", i+1, len(topics), subject))
			if err := createTopics(b.running[subject].addr(), each, topic); err != nil {
				return fmt.Errorf("create %d partitions, %s: %w", each, subject, err)
			}
		}
	}
	return nil
}

// led counts the partitions that a broker leads.
func (c cluster) led(topics []string, id int) (n int, err error) {
	witnesses, err := c[:1].witnesses()
	if err != nil {
		return 0, err
	}
	defer closeAll(witnesses)
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	m, err := witnesses[0].describe(ctx, topics...)
	if err != nil {
		return 0, err
	}
	for _, topic := range m.Topics {
		for _, p := range topic.Partitions {
			if int(p.Leader) == id {
				n++
			}
		}
	}
	return n, nil
}

// without is the cluster without a broker; ids begin with 1.
func (c cluster) without(id int) cluster {
	return slices.DeleteFunc(slices.Clone(c), func(b *harness.Broker) bool { return b == c[id-1] })
}

// untilLedByOthers waits until all other brokers have told that what one led has another
// leader.
func (c cluster) untilLedByOthers(limit time.Duration, topics []string, id int) error {
	return c.without(id).untilAll(limit, topics, func(_ string, p kmsg.MetadataResponseTopicPartition) bool {
		return p.Leader > 0 && int(p.Leader) != id
	})
}
