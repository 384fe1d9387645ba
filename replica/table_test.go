package replica

import (
	"sync"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

// TestTable looks up while partitions come and go.
func TestTable(t *testing.T) {
	table := newTable()
	tp := func(i int) protocol.TopicPartition { return protocol.TopicPartition{Topic: "t", Partition: int32(i)} }
	const n = 500
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := g; i < n; i += 2 { // two goroutines for each
				made := newPartition(tp(i), nil)
				if p := table.getOrAdd(tp(i), func() *Partition { return made }); p.tp != tp(i) {
					t.Errorf("%v instead of %v", p.tp, tp(i))
				}
			}
		})
		group.Go(func() {
			for i := range n {
				if p := table.get(tp(i)); p != nil && p.tp != tp(i) {
					t.Errorf("%v instead of %v", p.tp, tp(i))
				}
			}
		})
	}
	group.Wait()
	for i := range n {
		p := table.get(tp(i))
		if p == nil || table.getOrAdd(tp(i), nil) != p {
			t.Fatalf("partition %d is lost", i)
		}
		if i%2 == 0 {
			table.remove(tp(i))
		}
	}
	count := 0
	for p := range table.all() {
		if p.tp.Partition%2 == 0 {
			t.Errorf("%v is still there", p.tp)
		}
		count++
	}
	if count != n/2 {
		t.Errorf("%d partitions, want %d", count, n/2)
	}
}
