package compat

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// openTransactions write to a compacted topic: one after the other, around each other, and
// some that stay open while it is compacted. They are the same with each broker.
type openTransactions struct {
	topic                 string
	plain, late, straddle *bareProducer
	long                  *bareProducer // open in the first two compactions
	next                  *bareProducer // in the second and third
	values                int
	last                  [2]int // how many records the last batch of these two has; 0 if nothing is open
}

func startOpenTransactions(t *testing.T, b *harness.Broker, topic string) *openTransactions {
	t.Helper()
	client := franz(t, b)
	defer client.Close()
	come := func(name string) *bareProducer { return newBareProducer(t, client, topic+"-"+name, 15*time.Minute) }
	return &openTransactions{topic: topic, plain: come("plain"), late: come("late"), straddle: come("straddle"), long: come("long"), next: come("next")}
}

// clone is for another copy of the files.
func (o *openTransactions) clone() *openTransactions {
	copied := *o
	for _, p := range []**bareProducer{&copied.plain, &copied.late, &copied.straddle, &copied.long, &copied.next} {
		producer := **p
		producer.next = maps.Clone(producer.next)
		*p = &producer
	}
	return &copied
}

// write is what happens before a compaction.
func (o *openTransactions) write(t *testing.T, b *harness.Broker, round int) {
	t.Helper()
	client := franz(t, b)
	defer client.Close()
	send := func(p *bareProducer, n int) {
		t.Helper()
		var some []string
		for range n {
			some = append(some, fmt.Sprintf("key-%d: %0*d", o.values*7%11, 100+o.values%50, o.values))
			o.values++
		}
		p.add(t, client, o.topic, 0)
		p.send(t, client, o.topic, 0, some...)
	}
	plain := func(n int) {
		t.Helper()
		for i := range n {
			send(o.plain, 3)
			o.plain.end(t, client, i%2 == 0)
		}
	}
	switch round {
	case 1:
		plain(20)
		send(o.straddle, 2)
		send(o.late, 2)
		send(o.long, 3)
		plain(6)
		o.straddle.end(t, client, false)
		o.late.end(t, client, true)
		plain(3)
		o.last = [2]int{3, 0}
	case 2:
		send(o.long, 2)
		send(o.straddle, 2)
		send(o.next, 2)
		o.straddle.end(t, client, true)
		plain(4)
		o.last = [2]int{2, 2}
	case 3:
		o.long.end(t, client, true)
		send(o.late, 3)
		plain(4)
		o.late.end(t, client, false)
		o.last = [2]int{0, 2}
	case 4:
		o.next.end(t, client, false)
		plain(2)
		o.last = [2]int{}
	}
}

// describe is what readers of both isolation levels see, and what the broker knows of the
// producers.
func (o *openTransactions) describe(t *testing.T, b *harness.Broker, what string, left map[string][]string) {
	t.Helper()
	records := everything(t, b, o.topic)
	for i, r := range records {
		if strings.Contains(r, "control true") {
			records[i] = regexp.MustCompile(`time \d+`).ReplaceAllString(r, "some time")
		}
	}
	left[what] = records
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Fetch), 12) // by the names of topics
	client := franz(t, b, kgo.MaxVersions(versions))
	defer client.Close()
	stable := o.stable(t, b)
	for from := int64(0); from <= stable; from += 1 + stable/10 {
		seen, end := fetchAll(t, client, o.topic, 0, from, kgo.ReadCommitted())
		left[fmt.Sprintf("%s, read_committed from offset %d", what, from)] = append(seen, fmt.Sprintf("%d is stable", end))
	}
	req := kmsg.NewPtrDescribeProducersRequest()
	req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: o.topic, Partitions: []int32{0}}}
	resp, err := req.RequestWith(within(t, 30*time.Second), client)
	if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("describe producers: %v, %+v", err, resp)
	}
	var producers []string
	for _, ours := range []*bareProducer{o.plain, o.late, o.straddle, o.long, o.next} {
		for _, p := range resp.Topics[0].Partitions[0].ActiveProducers {
			if p.ProducerID == ours.id {
				producers = append(producers, fmt.Sprintf("%s: epoch %d, last sequence number %d, coordinator epoch %d, transaction from %d",
					ours.name, p.ProducerEpoch, p.LastSequence, p.CoordinatorEpoch, p.CurrentTxnStartOffset))
			}
		}
	}
	for i, p := range []*bareProducer{o.long, o.next} {
		if n := o.last[i]; n > 0 { // its last batch again
			code, at := p.sendAt(t, client, o.topic, 0, p.next[bareLine{o.topic, 0}]-int32(n), make([]string, n)...)
			producers = append(producers, fmt.Sprintf("%s: error code %d, offset %d", p.name, code, at))
		}
	}
	if left[what+", producers"] = producers; len(producers) < 4 {
		t.Errorf("%s: only %q", what, producers)
	}
}

// stable is up to where no transaction is open.
func (o *openTransactions) stable(t *testing.T, b *harness.Broker) int64 {
	t.Helper()
	client := franz(t, b)
	defer client.Close()
	offsets, err := kadm.NewClient(client).ListCommittedOffsets(within(t, 30*time.Second), o.topic)
	if err != nil {
		t.Fatal(err)
	}
	stable, ok := offsets.Lookup(o.topic, 0)
	if !ok || stable.Err != nil {
		t.Fatalf("%s-0: %v", o.topic, stable.Err)
	}
	return stable.Offset
}
