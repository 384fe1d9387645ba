package compat

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// groupPartitions is how many partitions the topics of groups have.
const groupPartitions = 4

// seen are the records that a group has read, by partition and offset.
type seen struct {
	mu      sync.Mutex
	records map[[2]int64]bool
	again   int // how often one was read again
}

func (s *seen) add(partition int32, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := [2]int64{int64(partition), offset}
	if s.records[at] {
		s.again++
	}
	s.records[at] = true
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// lifeOfGroup has a second member come to a group, and the first one leave it, while
// records flow. All are read, and what is committed in the end is where the partitions
// end. join has a member read and commit until leave is called.
func lifeOfGroup(t *testing.T, b *harness.Broker, name string, join func(t *testing.T, group, topic string, read *seen) (leave func())) {
	t.Helper()
	topic, group := name+"-topic", name+"-group"
	createTopic(t, b, topic, groupPartitions, map[string]string{})
	producer, read := franz(t, b), &seen{records: map[[2]int64]bool{}}
	produced := 0
	more := func() {
		t.Helper()
		produce(t, producer, topic, groupPartitions, produced, produced+40*groupPartitions)
		produced += 40 * groupPartitions
	}
	all := func() {
		t.Helper()
		waitUntil(t, fmt.Sprintf("group %s has read %d records", group, produced), func() bool { return read.count() == produced })
	}
	more()
	first := join(t, group, topic, read)
	all()
	second := join(t, group, topic, read)
	more()
	all()
	first()
	more()
	all()
	second()
	committed, err := kadm.NewClient(producer).FetchOffsets(within(t, 20*time.Second), group)
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(groupPartitions) {
		if o, ok := committed.Lookup(topic, p); !ok || o.Err != nil || o.At != int64(produced/groupPartitions) {
			t.Errorf("%s has committed %d in partition %d, %v; there are %d records", group, o.At, p, o.Err, produced/groupPartitions)
		}
	}
}

func TestFranzGroups(t *testing.T) {
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		for name, balancer := range map[string]kgo.GroupBalancer{"eager": kgo.RangeBalancer(), "cooperative": kgo.CooperativeStickyBalancer()} {
			lifeOfGroup(t, b, name, func(t *testing.T, group, topic string, read *seen) func() {
				member := franz(t, b, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(balancer), kgo.DisableAutoCommit(),
					kgo.FetchMaxWait(100*time.Millisecond), kgo.HeartbeatInterval(100*time.Millisecond))
				return inBackground(t, func(ctx context.Context) {
					for ctx.Err() == nil {
						member.PollFetches(ctx).EachRecord(func(r *kgo.Record) { read.add(r.Partition, r.Offset) })
						_ = member.CommitUncommittedOffsets(within(t, 20*time.Second)) // one that fails in a rebalance comes again
					}
					member.Close()
				})
			})
		}
		administrateGroups(t, kadm.NewClient(franz(t, b)))
	})
}

// administrateGroups looks at the groups that are empty by now, and removes them.
func administrateGroups(t *testing.T, admin *kadm.Client) {
	ctx := within(t, 30*time.Second)
	listed, err := admin.ListGroups(ctx)
	if err != nil || len(listed) != 2 || listed["eager-group"].State != "Empty" || listed["eager-group"].ProtocolType != "consumer" {
		t.Errorf("listed %+v, %v", listed, err)
	}
	described, err := admin.DescribeGroups(ctx, "eager-group")
	if err != nil || described["eager-group"].State != "Empty" {
		t.Errorf("described %+v, %v", described, err)
	}
	var topic kadm.TopicsSet
	topic.Add("eager-topic", 0)
	if gone, err := admin.DeleteOffsets(ctx, "eager-group", topic); err != nil || gone.Error() != nil {
		t.Errorf("delete offsets: %v, %v", err, gone.Error())
	}
	if gone, err := admin.DeleteGroups(ctx, "eager-group", "cooperative-group"); err != nil || gone.Error() != nil {
		t.Errorf("delete groups: %v, %v", err, gone.Error())
	}
	if listed, err = admin.ListGroups(ctx); err != nil || len(listed) != 0 {
		t.Errorf("left %+v, %v", listed, err)
	}
}

// inBackground runs f until the function it returns is called, or the test ends.
func inBackground(t *testing.T, f func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	end = func() {
		cancel()
		<-done
	}
	t.Cleanup(end)
	return end
}

// saramaMember reads for a group in which the client is a member.
type saramaMember struct{ read *seen }

func (saramaMember) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for r := range claim.Messages() {
		m.read.add(r.Partition, r.Offset)
		session.MarkMessage(r, "")
		session.Commit()
	}
	return nil
}

func TestSaramaGroups(t *testing.T) {
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		for _, version := range []sarama.KafkaVersion{sarama.V0_11_0_0, sarama.DefaultVersion, sarama.MaxVersion} {
			config := saramaClient{version, []string{b.Addr}}.config()
			config.Consumer.Offsets.Initial = sarama.OffsetOldest
			config.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
			config.Consumer.Return.Errors = false
			lifeOfGroup(t, b, "sarama-"+version.String(), func(t *testing.T, group, topic string, read *seen) func() {
				member, err := sarama.NewConsumerGroup([]string{b.Addr}, group, config)
				if err != nil {
					t.Fatal(err)
				}
				return inBackground(t, func(ctx context.Context) {
					for ctx.Err() == nil {
						if err := member.Consume(ctx, []string{topic}, saramaMember{read}); err != nil {
							t.Errorf("%s: %v", group, err)
						}
					}
					member.Close()
				})
			})
		}
	})
}

func TestKcatGroups(t *testing.T) {
	binary := harness.Fetch(t, "kcat")
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		lifeOfGroup(t, b, "kcat", func(t *testing.T, group, topic string, read *seen) func() {
			member := exec.Command(binary, "-b", b.Addr, "-u", "-q", "-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=100", "-f", `%p %o\n`, "-G", group, topic)
			out, err := member.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := member.Start(); err != nil {
				t.Fatal(err)
			}
			return inBackground(t, func(ctx context.Context) {
				defer context.AfterFunc(ctx, func() { _ = member.Process.Signal(syscall.SIGTERM) })()
				for lines := bufio.NewScanner(out); lines.Scan(); {
					var partition int32
					var offset int64
					if _, err := fmt.Sscan(lines.Text(), &partition, &offset); err != nil {
						t.Errorf("%q: %v", lines.Text(), err)
					}
					read.add(partition, offset)
				}
				if err := member.Wait(); err != nil {
					t.Errorf("kcat: %v", err)
				}
			})
		})
	})
}
