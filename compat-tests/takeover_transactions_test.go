package compat

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestTakeOverTransactions lets Kafka 3.9.2 and Gracchus run by turns on the same files
// and znodes, with transactions that are committed, aborted, ending, and open when the one
// stops and the other starts: an open one's producer goes on where it was, or another comes
// with its id, or it times out. TAKEOVER_TRANSACTIONS_ROUNDS is how often. Every second
// round ends with kill -9.
func TestTakeOverTransactions(t *testing.T) {
	t.Parallel() // it waits, most of the time
	l := &transactionsLedger{o: harness.Options{ZooKeeper: harness.ZooKeeper(t), Dirs: []string{filepath.Join(t.TempDir(), "data")}, Properties: []string{
		"zookeeper.session.timeout.ms=6000", "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms=100",
		// The log of transactional ids is compacted all the time.
		"transaction.state.log.segment.bytes=4096", "log.cleaner.backoff.ms=100", "log.cleaner.min.cleanable.ratio=0",
		"log.cleaner.dedupe.buffer.size=1100000", "log.segment.delete.delay.ms=1000",
	}}}
	for round := 1; round <= harness.FromEnvironment(t, "TAKEOVER_TRANSACTIONS_ROUNDS", 2); round++ {
		clean := round%2 > 0
		l.turn(t, fmt.Sprintf("round %d, Kafka", round), harness.StartKafka, clean)
		l.turn(t, fmt.Sprintf("round %d, Gracchus", round), ours(), clean)
	}
	l.turn(t, "Kafka at last", harness.StartKafka, true)
}

const (
	takenTopic      = "take-transactions"
	takenPartitions = 3
	takenGroup      = "take-transactions-group"
)

// transactionsLedger knows what the partitions must be like.
type transactionsLedger struct {
	o         harness.Options
	turns     int
	lines     [takenPartitions]ledgerLine
	described []string
	committed int64 // offset of the group; −1: none
	cleaned   int64 // up to where __transaction_state is compacted

	// What is open, or ending, when a broker stops.
	goesOn, fenced, slow, ending, offsets *takenTransaction
}

// ledgerLine is a partition.
type ledgerLine struct {
	entries []ledgerEntry
	end     int64
}

type ledgerEntry struct {
	offset int64
	value  string
	of     *takenTransaction
}

// takenTransaction is a transaction of a producer.
type takenTransaction struct {
	*bareProducer
	partitions map[int32]bool
	ended      bool
	committed  bool // if it has ended
	last       int  // records of the last batch
}

// turn starts a broker, checks what is there, ends what is open, and leaves as much.
func (l *transactionsLedger) turn(t *testing.T, name string, start func(harness.TB, harness.Options) *harness.Broker, clean bool) {
	t.Helper()
	passed := t.Run(name, func(t *testing.T) {
		waitForSession(t, l.o.ZooKeeper)
		b := start(t, l.o)
		versions := kversion.Stable()
		versions.SetMaxKeyVersion(int16(kmsg.Fetch), 12) // by the names of topics
		client := franz(t, b, kgo.MaxVersions(versions))
		if l.turns++; l.turns == 1 {
			createTopic(t, b, takenTopic, takenPartitions, map[string]string{"segment.bytes": "2000", "index.interval.bytes": "200"})
			l.committed = -1
		} else {
			waitForLeaders(t, b, takenTopic)
			l.takeUp(t, b, client)
		}
		l.change(t, client)
		l.check(t, client)
		if l.turns > 1 {
			l.compacted(t)
		}
		l.leave(t, client)
		if clean {
			b.StopCleanly(t)
		} else {
			b.Kill()
		}
	})
	if !passed {
		t.FailNow()
	}
}

// compacted waits until the log of transactional ids has been compacted.
func (l *transactionsLedger) compacted(t *testing.T) {
	t.Helper()
	waitUntil(t, "__transaction_state is compacted", func() bool {
		checkpoint, err := os.ReadFile(filepath.Join(l.o.Dirs[0], "cleaner-offset-checkpoint"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^__transaction_state 0 (\d+)$`).FindSubmatch(checkpoint)
		if found == nil {
			return false
		}
		end, err := strconv.ParseInt(string(found[1]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		is := end > l.cleaned
		l.cleaned = max(l.cleaned, end)
		return is
	})
}

// takeUp finds all as the broker before has left it, and goes on with what is open.
func (l *transactionsLedger) takeUp(t *testing.T, b *harness.Broker, client *kgo.Client) {
	t.Helper()
	// These end by themselves, whenever.
	awaitTransaction(t, client, l.ending.name, map[bool]string{true: "CompleteCommit", false: "CompleteAbort"}[l.ending.committed])
	l.end(l.ending, l.ending.committed)
	awaitTransaction(t, client, l.slow.name, "CompleteAbort")
	l.end(l.slow, false)
	for _, p := range []*takenTransaction{l.ending, l.slow} {
		markDropped(t, b, client, p)
	}
	l.markedAgain(t, client)
	l.refused(t, client, l.slow)
	compareLines(t, "transactional ids", l.describe(t, client), l.described)
	l.check(t, client)

	// The producer's last batch again, then one with a gap before it, and then it goes on.
	p, line := l.goesOn, bareLine{takenTopic, 0}
	code, at := p.sendAt(t, client, takenTopic, 0, p.next[line]-int32(p.last), make([]string, p.last)...)
	if want := l.lastOf(p, 0) - int64(p.last) + 1; code != 0 || at != want {
		t.Errorf("the last batch again: error code %d, offset %d instead of %d", code, at, want)
	}
	const outOfOrderSequence = 45
	if code, _ := p.sendAt(t, client, takenTopic, 0, p.next[line]+1, "too far"); code != outOfOrderSequence {
		t.Errorf("a batch with a gap before it: error code %d", code)
	}
	l.send(t, client, p, 0, 2)
	l.send(t, client, p, 2, 1)
	p.end(t, client, true)
	l.end(p, true)

	newcomer := newBareProducer(t, client, l.fenced.name, 15*time.Minute)
	l.end(l.fenced, false)
	l.refused(t, client, l.fenced)
	l.commit(t, client, l.take(newcomer), true)

	commit := l.turns%3 > 0
	l.offsets.end(t, client, commit)
	l.end(l.offsets, commit)
	if commit {
		l.committed = int64(l.turns - 1)
	}
}

// refused has a producer whose transaction was aborted go on with it in vain.
func (l *transactionsLedger) refused(t *testing.T, client *kgo.Client, p *takenTransaction) {
	t.Helper()
	const invalidProducerEpoch, producerFenced = 47, 90
	if code, _ := p.sendAt(t, client, takenTopic, 0, p.next[bareLine{takenTopic, 0}], "too late"); code != invalidProducerEpoch {
		t.Errorf("%s sends after it was aborted: error code %d", p.name, code)
	}
	if code := p.tryEnd(t, client, true); code != producerFenced {
		t.Errorf("%s commits after it was aborted: error code %d", p.name, code)
	}
}

// change begins some transactions and ends them.
func (l *transactionsLedger) change(t *testing.T, client *kgo.Client) {
	t.Helper()
	for i, commit := range []bool{true, false, true, false} {
		p := newBareProducer(t, client, fmt.Sprintf("plain-%d", i%2), 15*time.Minute)
		l.commit(t, client, l.take(p), commit)
	}
}

// leave leaves transactions behind: open, or with their end asked for.
func (l *transactionsLedger) leave(t *testing.T, client *kgo.Client) {
	t.Helper()
	begin := func(name string, timeout time.Duration, partitions ...int32) *takenTransaction {
		p := l.take(newBareProducer(t, client, name, timeout))
		for _, partition := range partitions {
			l.send(t, client, p, partition, 2)
		}
		return p
	}
	l.goesOn = begin("goes-on", 15*time.Minute, 0, 1)
	l.fenced = begin("fenced", 15*time.Minute, 0, 2)
	l.offsets = begin("offsets", 15*time.Minute, 1)
	l.offsets.commitOffset(t, client, takenGroup, takenTopic, int64(l.turns))
	l.commit(t, client, l.take(newBareProducer(t, client, "plain-0", 15*time.Minute)), l.turns%2 > 0)
	l.check(t, client)
	l.described = l.describe(t, client)
	l.ending = begin("ending", 15*time.Minute, 0, 1, 2)
	l.slow = begin("slow", 4*time.Second, 2, 0)
	if code := l.ending.tryEnd(t, client, l.turns%2 > 0); code != 0 {
		t.Errorf("a transaction does not end: error code %d", code)
	}
	l.ending.committed = l.turns%2 > 0
}

func (l *transactionsLedger) take(p *bareProducer) *takenTransaction {
	p.stamp = time.Now().UnixMilli() // who has long sent nothing is forgotten at a start
	return &takenTransaction{bareProducer: p, partitions: map[int32]bool{}}
}

// commit sends a few records and commits them, or aborts.
func (l *transactionsLedger) commit(t *testing.T, client *kgo.Client, p *takenTransaction, commit bool) {
	t.Helper()
	for partition := range int32(takenPartitions) {
		l.send(t, client, p, partition, 1+int(partition))
	}
	l.send(t, client, p, 0, 3)
	p.end(t, client, commit)
	l.end(p, commit)
}

func (l *transactionsLedger) send(t *testing.T, client *kgo.Client, p *takenTransaction, partition int32, n int) {
	t.Helper()
	if !p.partitions[partition] {
		p.add(t, client, takenTopic, partition)
		p.partitions[partition] = true
	}
	line := &l.lines[partition]
	var values []string
	for i := range n {
		values = append(values, fmt.Sprintf("turn %d: %s, epoch %d, record %d of %d", l.turns, p.name, p.epoch, i, n))
	}
	if at := p.bareProducer.send(t, client, takenTopic, partition, values...); at != line.end {
		t.Fatalf("%s is at offset %d of partition %d, not %d", values[0], at, partition, line.end)
	}
	p.last = n
	for _, v := range values {
		line.entries = append(line.entries, ledgerEntry{line.end, v, p})
		line.end++
	}
}

// end notes that a transaction has ended: there is a marker in each of its partitions.
func (l *transactionsLedger) end(p *takenTransaction, commit bool) {
	p.ended, p.committed = true, commit
	for partition := range maps.Keys(p.partitions) {
		l.lines[partition].end++
	}
}

// markedAgain takes note of markers that are there twice: of the transactions that were
// ending when the broker stopped, the next one does not know which partitions have theirs.
func (l *transactionsLedger) markedAgain(t *testing.T, client *kgo.Client) {
	t.Helper()
	listed, err := kadm.NewClient(client).ListEndOffsets(within(t, 20*time.Second), takenTopic)
	if err != nil || listed.Error() != nil {
		t.Fatal(err, listed.Error())
	}
	for partition := range int32(takenPartitions) {
		line := &l.lines[partition]
		end, _ := listed.Lookup(takenTopic, partition)
		most := 0
		for _, p := range []*takenTransaction{l.ending, l.slow} {
			if p.partitions[partition] {
				most++
			}
		}
		if twice := end.Offset - line.end; twice < 0 || twice > int64(most) {
			t.Fatalf("partition %d ends at %d, not at %d", partition, end.Offset, line.end)
		}
		line.end = end.Offset
	}
}

var droppedMarkers = regexp.MustCompile(`Couldn't find leader endpoint for partitions Set\(([^)]*)\) while trying to send transaction markers for ([^,]+),`)

// markDropped writes the markers that Kafka has dropped, as an operator would: a Kafka that
// has loaded the log of transactional ids before its controller has told it of a topic takes
// the topic for deleted, says so, and leaves the transaction open there for ever.
func markDropped(t *testing.T, b *harness.Broker, client *kgo.Client, p *takenTransaction) {
	t.Helper()
	dropped := kadm.TopicsSet{}
	for _, said := range droppedMarkers.FindAllStringSubmatch(b.Output(), -1) {
		if said[2] != p.name {
			continue
		}
		for partition := range p.partitions {
			if slices.Contains(strings.Split(said[1], ", "), fmt.Sprint(takenTopic, "-", partition)) {
				dropped.Add(takenTopic, partition)
			}
		}
	}
	if len(dropped) == 0 {
		return
	}
	t.Logf("Kafka has dropped the markers of %s", p.name)
	if p.committed {
		t.Fatalf("%s, which is committed: what an operator aborts then is lost", p.name)
	}
	admin, epoch := kadm.NewClient(client), describeTransaction(t, client, p.name).ProducerEpoch
	described, err := admin.DescribeProducers(within(t, 20*time.Second), dropped)
	if err != nil {
		t.Fatal(err)
	}
	described.EachProducer(func(open kadm.DescribedProducer) {
		if open.ProducerID != p.id || open.CurrentTxnStartOffset < 0 {
			return
		}
		markers := kadm.TxnMarkers{ProducerID: p.id, ProducerEpoch: epoch, CoordinatorEpoch: max(open.CoordinatorEpoch, 0), Topics: kadm.TopicsSet{}}
		markers.Topics.Add(open.Topic, open.Partition)
		written, err := admin.WriteTxnMarkers(within(t, 20*time.Second), markers)
		if err != nil {
			t.Fatal(err)
		}
		written.EachPartition(func(r kadm.TxnMarkersPartitionResponse) {
			if r.Err != nil {
				t.Errorf("%s is not aborted in partition %d: %v", p.name, r.Partition, r.Err)
			}
		})
	})
}

func (l *transactionsLedger) lastOf(p *takenTransaction, partition int32) (offset int64) {
	for _, e := range l.lines[partition].entries {
		if e.of == p {
			offset = e.offset
		}
	}
	return offset
}

// describe says what the broker says of the ids whose transactions do not end by
// themselves.
func (l *transactionsLedger) describe(t *testing.T, client *kgo.Client) (lines []string) {
	t.Helper()
	for _, name := range []string{"goes-on", "fenced", "offsets", "plain-0", "plain-1"} {
		s := describeTransaction(t, client, name)
		var partitions []string
		for _, topic := range s.Topics {
			slices.Sort(topic.Partitions)
			partitions = append(partitions, fmt.Sprint(topic.Topic, topic.Partitions))
		}
		slices.Sort(partitions)
		lines = append(lines, fmt.Sprintf("%s: %s, producer %d, epoch %d, timeout %d ms, since %d, partitions %v, error code %d",
			name, s.State, s.ProducerID, s.ProducerEpoch, s.TimeoutMillis, s.StartTimestamp, partitions, s.ErrorCode))
	}
	return lines
}

// check reads all partitions, from the beginning and from the middle of batches, and asks
// for the group's offset.
func (l *transactionsLedger) check(t *testing.T, client *kgo.Client) {
	t.Helper()
	for partition := range int32(takenPartitions) {
		line := &l.lines[partition]
		stable := line.end
		if i := slices.IndexFunc(line.entries, func(e ledgerEntry) bool { return !e.of.ended }); i >= 0 {
			stable = line.entries[i].offset
		}
		for from := int64(0); from < line.end; from += 1 + line.end/11 {
			var committed, all []string
			for _, e := range line.entries {
				if e.offset < from {
					continue
				}
				s := fmt.Sprintf("%d: %s", e.offset, e.value)
				all = append(all, s)
				if e.of.committed && e.offset < stable {
					committed = append(committed, s)
				}
			}
			got, end := fetchAll(t, client, takenTopic, partition, from, kgo.ReadCommitted())
			if end != stable {
				t.Errorf("partition %d is stable up to %d, not %d", partition, end, stable)
			}
			compareLines(t, fmt.Sprintf("read_committed from offset %d of partition %d", from, partition), got, committed)
			got, _ = fetchAll(t, client, takenTopic, partition, from, kgo.ReadUncommitted())
			compareLines(t, fmt.Sprintf("read_uncommitted from offset %d of partition %d", from, partition), got, all)
		}
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	const unstableOffsetCommit = 88
	req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: takenGroup, MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: takenTopic, Partitions: []int32{0}}}}}
	for _, req.RequireStable = range []bool{false, true} {
		var code int16
		if req.RequireStable && l.offsets != nil && !l.offsets.ended {
			code = unstableOffsetCommit
		}
		waitUntil(t, "the group has its coordinator", func() bool {
			resp, err := req.RequestWith(within(t, 20*time.Second), client)
			if err != nil || resp.Groups[0].ErrorCode != 0 {
				return false
			}
			if p := resp.Groups[0].Topics[0].Partitions[0]; p.ErrorCode != code || code == 0 && p.Offset != l.committed {
				t.Errorf("the group is at %d, error code %d, and should be at %d, error code %d", p.Offset, p.ErrorCode, l.committed, code)
			}
			return true
		})
	}
}

// fetchAll is what a reader sees of a partition from an offset on, and the offset up to
// which it could see anything.
func fetchAll(t *testing.T, client *kgo.Client, topic string, partition int32, from int64, level kgo.IsolationLevel) (seen []string, end int64) {
	t.Helper()
	opts := kgo.ProcessFetchPartitionOpts{Topic: topic, Partition: partition, Offset: from, IsolationLevel: level}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes = 1 << 20
	one := kmsg.NewFetchRequestTopicPartition()
	one.Partition, one.PartitionMaxBytes = partition, 1<<20
	of := kmsg.NewFetchRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, one)
	req.Topics = append(req.Topics, of)
	if level == kgo.ReadCommitted() {
		req.IsolationLevel = 1
	}
	for ctx := within(t, 30*time.Second); ; {
		of.Partitions[0].FetchOffset = opts.Offset
		resp, err := client.SeedBrokers()[0].Request(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		p := &resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			t.Fatalf("fetch from offset %d of %s-%d: error code %d", opts.Offset, topic, partition, p.ErrorCode)
		}
		if end = p.HighWatermark; req.IsolationLevel == 1 {
			end = p.LastStableOffset
		}
		got, next := kgo.ProcessFetchPartition(opts, p, kgo.DefaultDecompressor(), nil)
		if got.Err != nil {
			t.Fatalf("what was fetched from offset %d of %s-%d: %v", opts.Offset, topic, partition, got.Err)
		}
		for _, r := range got.Records {
			seen = append(seen, fmt.Sprintf("%d: %s", r.Offset, r.Value))
		}
		if len(p.RecordBatches) == 0 {
			return seen, end
		}
		opts.Offset = next
	}
}
