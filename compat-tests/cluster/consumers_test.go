package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumers are a group that reads a topic, and what its members have seen.
type consumers struct {
	name, topic string
	join        joiner

	leave   func() // of the visitor; nil while there is none
	leaving sync.WaitGroup

	mu         sync.Mutex
	processed  [faultPartitions][]bool // by offset
	acked      promises                // the highest commits that were acknowledged
	generation int32                   // the newest in which one was
	commits    int
	wrong      []string
}

// promises are acknowledged commits, by partition.
type promises [faultPartitions]promise

type promise struct {
	offset     int64
	generation int32
	member     string
}

func (p promise) String() string {
	return fmt.Sprintf("%d (of %s in generation %d)", p.offset, p.member, p.generation)
}

// joiner has a member join, which reads and commits until it leaves.
type joiner func(t *testing.T, g *consumers) (leave func())

// visit has a visitor come, or leave if it is there. It waits for neither.
func (g *consumers) visit(t *testing.T) {
	if g.leave == nil {
		g.leave = g.join(t, g)
		return
	}
	g.leaving.Go(g.leave)
	g.leave = nil
}

func (g *consumers) sendVisitorAway() {
	if g.leave != nil {
		g.leave()
	}
	g.leave = nil
	g.leaving.Wait()
}

func (g *consumers) process(partition int32, offset int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := &g.processed[partition]
	for int64(len(*seen)) <= offset {
		*seen = append(*seen, false)
	}
	(*seen)[offset] = true
}

// missing is the first record below end that nobody has processed.
func (g *consumers) missing(partition int32, end int64) (offset int64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for ; offset < end; offset++ {
		if seen := g.processed[partition]; offset >= int64(len(seen)) || !seen[offset] {
			return offset, true
		}
	}
	return 0, false
}

// promised is what was acknowledged to the group so far.
func (g *consumers) promised() (acked promises, generation int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.acked, g.generation
}

// acknowledged is told of a commit, which was sent when others were acknowledged before.
func (g *consumers) acknowledged(partition int32, p promise, before promises, last int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.offset < before[partition].offset {
		g.bad("commits %v of partition %d, after %v was acknowledged", p, partition, before[partition])
	}
	if p.generation < last {
		g.bad("a commit was acknowledged in generation %d, after one in generation %d", p.generation, last)
	}
	if p.offset >= g.acked[partition].offset {
		g.acked[partition] = p
	}
	g.generation = max(g.generation, p.generation)
	g.commits++
}

// begins is told of the first record that a member reads of a partition that it was
// assigned when others were acknowledged before.
func (g *consumers) begins(partition int32, p promise, before promises) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.offset < before[partition].offset {
		g.bad("begins with %v in partition %d, after %v was acknowledged", p, partition, before[partition])
	}
}

// bad notes what must not have been. mu is held.
func (g *consumers) bad(format string, args ...any) {
	const enough = 10
	if len(g.wrong) < enough {
		g.wrong = append(g.wrong, g.name+": "+fmt.Sprintf(format, args...))
	}
}

func (g *consumers) report(t *testing.T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, wrong := range g.wrong {
		t.Error(wrong)
	}
	processed := 0
	for _, seen := range g.processed {
		processed += len(seen)
	}
	t.Logf("%s: %d records, %d acknowledged offsets, up to generation %d", g.name, processed, g.commits, g.generation)
}

// commitPatience is how long a member waits for a commit: not so long that it misses the
// rebalance.
const commitPatience = 2 * time.Second

// franzMember is a member that commits what it has processed before it reads more, and
// before its partitions go to others.
type franzMember struct {
	g      *consumers
	client *kgo.Client

	mu       sync.Mutex
	member   string             // its id in the group when it was last assigned anything
	assigned map[int32]promises // what was acknowledged when the partition was, until a record was read
}

func joinFranz(t *testing.T, addrs []string, g *consumers, balancer kgo.GroupBalancer) (leave func()) {
	t.Helper()
	m := &franzMember{g: g, assigned: map[int32]promises{}}
	m.client = client(t, addrs,
		kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(g.topic), kgo.Balancers(balancer), kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), kgo.RequireStableFetchOffsets(), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.SessionTimeout(groupSession), kgo.RebalanceTimeout(groupRebalance), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.RequestTimeoutOverhead(2*time.Second), kgo.DialTimeout(2*time.Second),
		kgo.MetadataMaxAge(time.Second), // a leader that does not know that it was replaced has no records, and no error
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, all map[string][]int32) { m.take(all[g.topic]) }),
		kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) { m.commit() }),
	)
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			m.client.PollFetches(ctx).EachRecord(m.process)
			m.commit()
			m.client.AllowRebalance()
		}
	})
	return leaver(t, g, func() {
		cancel()
		reading.Wait()
		m.client.CloseAllowingRebalance()
	})
}

// leaveLimit is how long a member may take to leave. It is long: its coordinator may be
// struck just then.
const leaveLimit = 30 * time.Second

// leaver has a member leave once, at the end of the test at the latest.
func leaver(t *testing.T, g *consumers, leave func()) func() {
	once := sync.OnceFunc(func() {
		left := make(chan struct{})
		go func() {
			defer close(left)
			leave()
		}()
		select {
		case <-left:
		case <-time.After(leaveLimit):
			g.mu.Lock()
			defer g.mu.Unlock()
			g.bad("a member has not left within %v", leaveLimit)
		}
	})
	t.Cleanup(once)
	return once
}

func (m *franzMember) take(partitions []int32) {
	acked, _ := m.g.promised()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.member, _ = m.client.GroupMetadata()
	for _, p := range partitions {
		m.assigned[p] = acked
	}
}

func (m *franzMember) process(r *kgo.Record) {
	m.mu.Lock()
	before, first := m.assigned[r.Partition]
	delete(m.assigned, r.Partition)
	m.mu.Unlock()
	if first {
		member, generation := m.client.GroupMetadata()
		m.g.begins(r.Partition, promise{r.Offset, generation, member}, before)
	}
	m.g.process(r.Partition, r.Offset)
}

// commit commits what was processed. What fails is committed later, by this member or by
// whoever processes it again.
//
// A member that has been out of the group does not commit before it is assigned something
// anew. The client, cooperative, comes back under another id with the partitions that it
// had, where it was, although others may have had them since; and it can commit.
func (m *franzMember) commit() {
	offsets := m.client.UncommittedOffsets()
	if len(offsets) == 0 {
		return
	}
	before, last := m.g.promised()
	ctx, cancel := context.WithTimeout(context.Background(), commitPatience)
	defer cancel()
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if req.MemberID != m.member {
			return errWasOut
		}
		return nil
	})
	m.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode == 0 {
					m.g.acknowledged(p.Partition, promise{offsets[t.Topic][p.Partition].Offset, req.Generation, req.MemberID}, before, last)
				}
			}
		}
	})
}

var errWasOut = errors.New("the member has been out of the group since it was assigned its partitions")

// saramaMember reads as a member whose client commits now and then.
type saramaMember struct{ g *consumers }

func (saramaMember) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for r := range claim.Messages() {
		m.g.process(r.Partition, r.Offset)
		session.MarkMessage(r, "")
	}
	return nil
}

// saramaRebalance is short because sarama must wait for any answer longer than that, and
// waits as long, several times, for a paused broker, which accepts connections and does
// not answer.
const saramaRebalance = 1500 * time.Millisecond

func joinSarama(t *testing.T, addrs []string, g *consumers) (leave func()) {
	t.Helper()
	config := sarama.NewConfig()
	config.Version, config.ApiVersionsRequest = sarama.MaxVersion, false
	config.Net.DialTimeout, config.Net.ReadTimeout, config.Net.WriteTimeout = 2*time.Second, saramaRebalance+500*time.Millisecond, 2*time.Second
	config.Metadata.Retry.Backoff, config.Metadata.RefreshFrequency = 100*time.Millisecond, time.Second
	config.Consumer.MaxWaitTime, config.Consumer.Retry.Backoff = 200*time.Millisecond, 200*time.Millisecond
	config.Consumer.Offsets.Initial, config.Consumer.Offsets.AutoCommit.Interval = sarama.OffsetOldest, 100*time.Millisecond
	group := &config.Consumer.Group
	group.Session.Timeout, group.Heartbeat.Interval = groupSession, 200*time.Millisecond
	group.Rebalance.Timeout, group.Rebalance.Retry.Backoff = saramaRebalance, 200*time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			member, err := sarama.NewConsumerGroup(addrs, g.name, config)
			for err == nil && ctx.Err() == nil {
				err = member.Consume(ctx, []string{g.topic}, saramaMember{g})
			}
			if member != nil {
				member.Close()
			}
			if ctx.Err() == nil {
				time.Sleep(100 * time.Millisecond)
			}
		}
	})
	return leaver(t, g, func() {
		cancel()
		reading.Wait()
	})
}
