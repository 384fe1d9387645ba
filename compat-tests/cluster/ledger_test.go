package cluster

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// ledgerGroup is a group without members, for which the ledger commits.
const ledgerGroup = "ledger"

// ledger has every broker asked, all the time, to commit offsets for one group and to
// tell what is committed, whoever coordinates it. Every commit has an offset of its own,
// higher than those before.
//
// Who leads the group's partition in which epoch is asked before and after each request;
// an answer counts if that is the same. Nobody, not even a coordinator that was replaced
// and cannot know, as one that was paused, tells less than what anybody had acknowledged
// when it was asked. What such a one accepts must be lost.
type ledger struct {
	t       *testing.T
	brokers []*kgo.Client // of broker i+1

	mu     sync.Mutex
	next   int64
	newest int32           // the newest epoch that any broker has led in
	acked  []entry         // acknowledged commits
	top    int64           // the highest that was acknowledged
	doomed map[int64]entry // commits that were sent to a broker that was replaced already
	late   int             // how many of them to one that had just said that it leads
	posts  []post
	wrong  []string
}

// entry is a commit that a broker took, or was sent, in an epoch.
type entry struct {
	broker int
	epoch  int32
	offset int64
}

// post is what is known of a broker.
type post struct {
	epoch int32 // that it led in when it last answered, notLeading
	since time.Time
	clear bool // it has said since it was asked to that it does not coordinate, or has committed in the newest epoch
}

const notLeading = -1

func newLedger(t *testing.T, c *harness.Cluster) *ledger {
	l := &ledger{t: t, doomed: map[int64]entry{}, newest: notLeading}
	for _, addr := range c.Addrs() {
		l.brokers = append(l.brokers, client(t, []string{addr}, kgo.RequestTimeoutOverhead(time.Second)))
		l.posts = append(l.posts, post{epoch: notLeading, since: time.Now()})
	}
	return l
}

func (l *ledger) run(ctx context.Context) {
	var running sync.WaitGroup
	for i := range l.brokers {
		running.Go(func() {
			for ctx.Err() == nil {
				l.turn(ctx, i)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	running.Wait()
}

// settled is how long a broker that does not lead must have been so before it may not
// answer: it gives up coordinating a moment after leading.
const settled = time.Second

// turn commits and fetches once. A broker that does not answer is sent a commit all the
// same, which it may find when it wakes.
func (l *ledger) turn(ctx context.Context, i int) {
	before, asked := l.leads(ctx, i)
	e, doomed := l.entry(i, asked)
	code, answered := l.commit(ctx, i, e.offset)
	if !asked || !answered {
		return
	}
	if after, ok := l.leads(ctx, i); ok && after == before {
		l.committed(e, doomed, code)
	}
	floor := l.floor()
	offset, code, answered := l.fetch(ctx, i)
	if !answered {
		return
	}
	after, ok := l.leads(ctx, i)
	l.fetched(entry{i, before, offset}, floor, code, ok && after == before)
}

// leads asks in which epoch a broker leads, and remembers it.
func (l *ledger) leads(ctx context.Context, i int) (epoch int32, ok bool) {
	if epoch, ok = l.epoch(ctx, i); ok {
		l.led(i, epoch)
	}
	return epoch, ok
}

func (l *ledger) led(i int, epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := &l.posts[i]; p.epoch != epoch {
		p.epoch, p.since = epoch, time.Now()
	}
	l.newest = max(l.newest, epoch)
}

// entry prepares a commit. It is doomed if another broker is known to lead in a newer
// epoch.
func (l *ledger) entry(i int, asked bool) (e entry, doomed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.posts[i]
	l.next++
	e = entry{i, p.epoch, l.next}
	if doomed = p.epoch != notLeading && p.epoch < l.newest; doomed {
		l.doomed[e.offset] = e
		if asked {
			l.late++
		}
	}
	return e, doomed
}

func (l *ledger) committed(e entry, doomed bool, code int16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.posts[e.broker]
	switch {
	case doomed:
		if code == 0 {
			l.bad("broker %d has acknowledged offset %d in epoch %d, when another led in epoch %d", e.broker+1, e.offset, e.epoch, l.newest)
		}
	case code == 0 && e.epoch == notLeading:
		if time.Since(p.since) > settled {
			l.bad("broker %d has acknowledged offset %d and has not led for %v", e.broker+1, e.offset, time.Since(p.since))
		}
	case code == 0:
		l.acked = append(l.acked, e)
		l.top = max(l.top, e.offset)
		p.clear = true
	case code == kerr.NotCoordinator.Code && e.epoch == notLeading:
		l.doomed[e.offset] = e
		p.clear = true
	}
}

// floor is the highest offset that was acknowledged so far.
func (l *ledger) floor() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.top
}

// fetched checks what a broker has told. same says that it led in the same epoch before
// and after it.
func (l *ledger) fetched(e entry, floor int64, code int16, same bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch p := &l.posts[e.broker]; {
	case code != 0:
	case e.offset < floor:
		l.bad("broker %d says in epoch %d that %d is committed, after %d was acknowledged", e.broker+1, e.epoch, e.offset, floor)
	case same && e.epoch == notLeading:
		if time.Since(p.since) > settled {
			l.bad("broker %d tells of offset %d and has not led for %v", e.broker+1, e.offset, time.Since(p.since))
		}
	}
}

// clear says whether a broker knows what it coordinates.
func (l *ledger) clear(broker int) bool {
	if broker == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.posts[broker-1].clear
}

// doubt has clear wait for what the broker says from now on.
func (l *ledger) doubt(broker int) {
	if broker == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posts[broker-1].clear = false
}

// bad notes what must not have been. mu is held.
func (l *ledger) bad(format string, args ...any) {
	const enough = 10
	if len(l.wrong) < enough {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// check fails the test for what must not have been. records are those of the group's
// partition of __consumer_offsets.
func (l *ledger) check(records []*kgo.Record) {
	l.compare(records)
	for _, wrong := range l.wrong {
		l.t.Errorf("%s: %s", ledgerGroup, wrong)
	}
	l.t.Logf("%s: %d of %d commits were acknowledged, up to epoch %d; %d were sent to who had been replaced, %d of them to one that did not know yet", ledgerGroup, len(l.acked), l.next, l.newest, len(l.doomed), l.late)
}

// compare compares what is in the log with what was said.
func (l *ledger) compare(records []*kgo.Record) {
	at := map[int64]int64{} // where commits are
	for _, r := range records {
		var key kmsg.OffsetCommitKey
		var value kmsg.OffsetCommitValue
		if key.ReadFrom(r.Key) != nil || key.Group != ledgerGroup || value.ReadFrom(r.Value) != nil {
			continue
		}
		at[value.Offset] = r.Offset
		if e, ok := l.doomed[value.Offset]; ok {
			l.bad("offset %d, sent to broker %d in epoch %d, which had been replaced, is in the log at %d", value.Offset, e.broker+1, e.epoch, r.Offset)
		}
	}
	for _, e := range l.acked {
		if _, ok := at[e.offset]; !ok {
			l.bad("offset %d, acknowledged by broker %d in epoch %d, is not in the log", e.offset, e.broker+1, e.epoch)
		}
	}
}

// offsetsPartition is the partition of __consumer_offsets of a group with an ASCII name:
// by its hash as Java has it.
func offsetsPartition(group string) int {
	hash := int32(0)
	for i := range len(group) {
		hash = 31*hash + int32(group[i])
	}
	if hash == math.MinInt32 {
		return 0
	}
	return int(max(hash, -hash)) % faultPartitions
}

func (l *ledger) ask(ctx context.Context, i int, req kmsg.Request) kmsg.Response {
	bounded, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := l.brokers[i].SeedBrokers()[0].Request(bounded, req)
	if err != nil {
		return nil
	}
	return resp
}

// epoch asks in which epoch a broker leads the group's partition, notLeading if it does
// not. A new leader that cannot tell yet where its log ends does not say, and coordinates
// already.
func (l *ledger) epoch(ctx context.Context, i int) (epoch int32, ok bool) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = offsetsTopic
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Partition, partition.Timestamp = int32(offsetsPartition(ledgerGroup)), -1
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	resp, ok := l.ask(ctx, i, req).(*kmsg.ListOffsetsResponse)
	if !ok {
		return notLeading, false
	}
	switch p := &resp.Topics[0].Partitions[0]; p.ErrorCode {
	case 0:
		return p.LeaderEpoch, true
	case kerr.OffsetNotAvailable.Code:
		return notLeading, false
	}
	return notLeading, true
}

func (l *ledger) commit(ctx context.Context, i int, offset int64) (code int16, ok bool) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = ledgerGroup, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = offsetsTopic // any that exists
	partition := kmsg.NewOffsetCommitRequestTopicPartition()
	partition.Offset = offset
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	resp, ok := l.ask(ctx, i, req).(*kmsg.OffsetCommitResponse)
	if !ok {
		return 0, false
	}
	return resp.Topics[0].Partitions[0].ErrorCode, true
}

func (l *ledger) fetch(ctx context.Context, i int) (offset int64, code int16, ok bool) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = ledgerGroup
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.Partitions = offsetsTopic, []int32{0}
	group.Topics = append(group.Topics, topic)
	req.Groups = append(req.Groups, group)
	resp, ok := l.ask(ctx, i, req).(*kmsg.OffsetFetchResponse)
	if !ok {
		return 0, 0, false
	}
	g := &resp.Groups[0]
	if g.ErrorCode != 0 {
		return 0, g.ErrorCode, true
	}
	p := &g.Topics[0].Partitions[0]
	return p.Offset, p.ErrorCode, true
}
