package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// outcome is what a worker has said of a transaction.
type outcome struct {
	role      string
	committed bool
	records   int
}

// book is what workers have said of their transactions, by their names.
type book struct {
	mu       sync.Mutex
	outcomes map[string]outcome
	commits  map[string]int // by role
}

// note takes a worker's line: committed or aborted, the name, and how many records.
func (b *book) note(role, line string) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return // a worker was killed in the middle of it
	}
	n, _ := strconv.Atoi(fields[2])
	b.mu.Lock()
	defer b.mu.Unlock()
	o := outcome{role, fields[0] == "committed", n}
	b.outcomes[fields[1]] = o
	if o.committed {
		if b.commits == nil {
			b.commits = map[string]int{}
		}
		b.commits[role]++
	}
}

func (b *book) committed(role string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.commits[role]
}

func (b *book) ended() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.outcomes)
}

func (b *book) String() string {
	processed, transferred := b.committed(processing), b.committed(transferring)
	return fmt.Sprintf("%d transactions, of which %d and %d are committed", b.ended(), processed, transferred)
}

// reporter is what *testing.T is to the checks.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

// compare checks what is there of the transactions of one kind of worker.
func (b *book) compare(t reporter, role string, there []*kgo.Record) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[string]int{}
	for _, r := range there {
		found[string(r.Key)]++
	}
	for name, o := range b.outcomes {
		switch n := found[name]; {
		case o.role != role:
		case !o.committed && n > 0:
			t.Errorf("%d records are there of %s, which was aborted", n, name)
		case o.committed && n != o.records:
			t.Errorf("%d records are there of %s, which was committed with %d", n, name, o.records)
		}
	}
}

// sameAsInput checks that each record of the input is in the output once.
func sameAsInput(t reporter, input map[int32]int64, output []*kgo.Record) {
	t.Helper()
	times := map[string]int{}
	for _, r := range output {
		times[string(r.Value)]++
	}
	for p, end := range input {
		for at := range end {
			source := fmt.Sprintf("%d:%d", p, at)
			if n := times[source]; n != 1 {
				t.Errorf("record %d of partition %d is in the output %d times", at, p, n)
			}
			delete(times, source)
		}
	}
	for source := range times {
		t.Errorf("record %s is in the output and not in the input", source)
	}
}

// balance checks that the sum of the accounts is 0, as it was, and both halves of each
// transfer are there.
func balance(t reporter, whose string, accounts []*kgo.Record) {
	t.Helper()
	sum, halves := 0, map[string]int{}
	for _, r := range accounts {
		amount, err := strconv.Atoi(string(r.Value))
		if err != nil {
			t.Errorf("%s: %q is no amount", whose, r.Value)
		}
		sum += amount
		halves[string(r.Key)]++
	}
	if sum != 0 {
		t.Errorf("%s finds the sum of the accounts %d", whose, sum)
	}
	for name, n := range halves {
		if n != 2 {
			t.Errorf("%s finds %d of the two halves of %s", whose, n, name)
		}
	}
}

// stableEnds waits until no transaction is open in a topic, and returns where its
// partitions end.
func stableEnds(t *testing.T, c *kgo.Client, topic string) map[int32]int64 {
	t.Helper()
	admin := kadm.NewClient(c)
	var all map[int32]int64
	eventually(t, transactionTimeout+20*time.Second, "no transaction is open in "+topic, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stable, err := admin.ListCommittedOffsets(ctx, topic)
		ends, err2 := admin.ListEndOffsets(ctx, topic)
		if err != nil || err2 != nil || stable.Error() != nil || ends.Error() != nil {
			return false
		}
		all = map[int32]int64{}
		same := true
		ends.Each(func(o kadm.ListedOffset) {
			at, _ := stable.Lookup(topic, o.Partition)
			same = same && at.Offset == o.Offset
			all[o.Partition] = o.Offset
		})
		return same && len(all) == faultPartitions
	})
	return all
}

// committedReader reads a topic from its beginning, read_committed.
type committedReader struct {
	client *kgo.Client

	mu      sync.Mutex
	next    map[int32]int64
	records []*kgo.Record
}

func newCommittedReader(t *testing.T, addrs []string, topic string) *committedReader {
	from := map[int32]kgo.Offset{}
	for p := range int32(faultPartitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	return &committedReader{next: map[int32]int64{}, client: client(t, addrs,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // they tell how far it has come
		kgo.FetchMaxWait(200*time.Millisecond), kgo.RequestTimeoutOverhead(2*time.Second), kgo.DialTimeout(2*time.Second))}
}

// run reads until ctx ends.
func (r *committedReader) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.client.PollFetches(ctx).EachRecord(r.take)
	}
}

func (r *committedReader) take(record *kgo.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next[record.Partition] = record.Offset + 1
	if !record.Attrs.IsControl() {
		r.records = append(r.records, record)
	}
}

// reached says whether it has read all up to these offsets.
func (r *committedReader) reached(ends map[int32]int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, end := range ends {
		if r.next[p] < end {
			return false
		}
	}
	return true
}

func (r *committedReader) all() []*kgo.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.records[:len(r.records):len(r.records)]
}

// readCommitted is all that is committed in a topic in which no transaction is open any
// more.
func readCommitted(t *testing.T, addrs []string, topic string) []*kgo.Record {
	t.Helper()
	r := newCommittedReader(t, addrs, topic)
	ends := stableEnds(t, r.client, topic)
	for ctx := within(t, time.Minute); !r.reached(ends); {
		if r.client.PollFetches(ctx).EachRecord(r.take); ctx.Err() != nil {
			t.Fatalf("%s was read only up to %v of %v", topic, r.next, ends)
		}
	}
	return r.records
}
