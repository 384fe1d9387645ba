package group

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

// A table is a map in which what is later in the log stays.
func TestOffsetTable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var table offsetTable
	want := map[protocol.TopicPartition]storedOffset{}
	for range 20_000 {
		tp := protocol.TopicPartition{Topic: string('a' + rune(random.IntN(3))), Partition: random.Int32N(40) - 2}
		old, exists := want[tp]
		if random.IntN(3) == 0 {
			if got := table.remove(tp); got != exists {
				t.Fatalf("%v is removed: %v", tp, got)
			}
			delete(want, tp)
			continue
		}
		o := storedOffset{OffsetValue{Offset: random.Int64N(9), LeaderEpoch: random.Int32N(9), CommitMS: random.Int64N(9), ExpireMS: NoExpiry}, random.Int64N(9)}
		switch random.IntN(3) {
		case 0:
			o.Metadata = "metadata"
		case 1:
			o.ExpireMS = random.Int64N(9)
		}
		if got := table.put(tp, o); got == exists {
			t.Fatalf("%v is new: %v", tp, got)
		}
		if !exists || old.at <= o.at {
			want[tp] = o
		}
		if got, ok := table.get(tp); !ok || got != want[tp] {
			t.Fatalf("%v: %+v, want %+v", tp, got, want[tp])
		}
		if table.takes != table.measure() {
			t.Fatalf("takes %d bytes, and thinks that it takes %d", table.measure(), table.takes)
		}
	}
	if got := maps.Collect(table.all()); !maps.Equal(got, want) || table.len() != len(want) {
		t.Errorf("%d: %v\nwant %d: %v", table.len(), got, len(want), want)
	}
	for tp := range want {
		table.remove(tp)
	}
	if table.len() != 0 || table.takes != 0 || len(table.topics) != 0 {
		t.Errorf("an empty table has %+v", table)
	}
}
