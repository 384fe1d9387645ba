package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/statelog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is one coordinator of __consumer_offsets with two partitions, of which it leads
// none at first.
type lab struct {
	t   testing.TB
	log *memlog.Log
	c   *Coordinator
}

func settingsForTests() Settings {
	return Settings{
		Limits: Limits{
			MinSessionTimeout: 6 * time.Second, MaxSessionTimeout: 30 * time.Minute, InitialRebalanceDelay: 3 * time.Second,
			MaxSize: 1000, OffsetMetadataMaxBytes: 4096, OffsetsRetention: 7 * 24 * time.Hour,
		},
		RetentionCheckInterval: 10 * time.Minute, CommitTimeout: 5 * time.Second, RequiredAcks: -1, LoadBufferBytes: 5 << 20, MemoryBytes: 1 << 30,
	}
}

func twoPartitions(context.Context) (int32, error) { return 2, nil }

func newLab(t testing.TB, log *memlog.Log, change ...func(*Settings)) *lab {
	t.Helper()
	s := settingsForTests()
	for _, f := range change {
		f(&s)
	}
	c, err := New(Config{Settings: s, Partitions: twoPartitions}, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return &lab{t, log, c}
}

func (l *lab) stop() { l.c.Stop(context.Background()) }

func role(n int32, r replica.Role, epoch int32, cause replica.Cause) replica.RoleEvent {
	return replica.RoleEvent{Partition: protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic, Partition: n}, Role: r, Epoch: epoch, Cause: cause}
}

// leads has the coordinator lead a partition.
func (l *lab) leads(n, epoch int32) {
	l.log.Lead(n, epoch)
	l.c.RoleChanged(role(n, replica.Leader, epoch, replica.LeaderAndISR))
}

func (l *lab) follows(n, epoch int32) {
	l.log.Lead(n, -1)
	l.c.RoleChanged(role(n, replica.Follower, epoch, replica.LeaderAndISR))
}

// newLeader is newLab with a log and the name of a group whose partition it leads, in
// epoch 5, and has loaded. The caller stops the lab.
func newLeader(t testing.TB) (*memlog.Log, *lab, string) {
	t.Helper()
	log := memlog.New()
	l := newLab(t, log)
	l.leads(1, 5)
	synctest.Wait()
	return log, l, groupIn(1)
}

// batchSizes returns how many records the batches of a partition have.
func batchSizes(log *memlog.Log, n int32) (sizes []int32) {
	for _, b := range log.Batches(n) {
		sizes = append(sizes, b.Count())
	}
	return sizes
}

// groupIn is the name of a group that belongs to a partition.
func groupIn(n int32) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("g%d", i); statelog.PartitionFor(name, 2) == n {
			return name
		}
	}
}

func commitOf(group string, offsets ...int64) *Commit {
	c := &Commit{Group: group, Generation: NoGeneration}
	for i, o := range offsets {
		c.Offsets = append(c.Offsets, CommitOffset{Topic: "t", Partition: int32(i), Offset: o, LeaderEpoch: -1, CommitMS: NoTime, ExpireMS: NoExpiry})
	}
	return c
}

// commit commits and returns a channel that is closed when it is done.
func (l *lab) commit(c *Commit) <-chan struct{} {
	done := make(chan struct{})
	l.c.CommitOffsets(c, func() { close(done) })
	return done
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (l *lab) committed(group string) string {
	l.t.Helper()
	all, err := l.c.FetchAllOffsets(nil, group)
	if err != nil {
		return err.Error()
	}
	slices.SortFunc(all, func(a, b CommittedOffset) int { return a.TopicPartition.Compare(b.TopicPartition) })
	var texts []string
	for _, o := range all {
		text := fmt.Sprintf("%v=%d", o.TopicPartition, o.Offset)
		if o.Unstable {
			text += "?"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

func (l *lab) expect(group, want string) {
	l.t.Helper()
	if got := l.committed(group); got != want {
		l.t.Errorf("%s has %q, want %q", group, got, want)
	}
}

// join joins and returns where the result comes.
func (l *lab) join(r JoinRequest) <-chan JoinResult {
	result := make(chan JoinResult, 1)
	r.SessionTimeout, r.RebalanceTimeout = 10*time.Second, 30*time.Second
	r.ProtocolType, r.Protocols = "consumer", []Protocol{{"range", subscription("t")}}
	l.c.Join(&r, func(j JoinResult) { result <- j })
	return result
}

func (l *lab) sync(r SyncRequest) <-chan SyncResult {
	result := make(chan SyncResult, 1)
	l.c.Sync(&r, func(s SyncResult) { result <- s })
	return result
}

func (l *lab) member(group string) JoinResult {
	j := <-l.join(JoinRequest{Group: group, ClientID: "m", ClientHost: "/h"})
	if j.Err != nil {
		l.t.Fatal(j.Err)
	}
	if s := <-l.sync(SyncRequest{Group: group, MemberID: j.MemberID, Generation: j.Generation}); s.Err != nil {
		l.t.Fatal(s.Err)
	}
	return j
}

func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
