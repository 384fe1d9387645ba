package load

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TB is what Check needs of a test.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Check compares all that is in a topic, by partition, with what was acknowledged to
// its producers, none of which runs any more: every acknowledged record is there
// once, at its offset, and those of a producer are in order. Records that were not
// acknowledged may be there, too. It also fails for what a producer could not send.
func Check(t TB, producers []*Producer, partitions [][]*kgo.Record) {
	t.Helper()
	type id struct{ producer, n uint32 }
	type stream struct{ producer, partition uint32 }
	seen := map[id]position{}
	last := map[stream]uint32{}
	for p, records := range partitions {
		for i, r := range records {
			if r.Offset != int64(i) {
				t.Errorf("partition %d: offset %d where %d should be", p, r.Offset, i)
				return
			}
			is := id{binary.BigEndian.Uint32(r.Value), binary.BigEndian.Uint32(r.Value[4:])}
			if twice, ok := seen[is]; ok {
				t.Errorf("record %d of producer %d is there twice: %+v and offset %d of partition %d", is.n, is.producer, twice, r.Offset, p)
			}
			seen[is] = position{true, r.Partition, r.Offset}
			of := stream{is.producer, uint32(p)}
			if before, ok := last[of]; ok && before >= is.n {
				t.Errorf("partition %d: record %d of producer %d comes after record %d", p, is.n, is.producer, before)
			}
			last[of] = is.n
		}
	}
	count := 0
	for _, p := range producers {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err != nil {
			t.Errorf("producer %d: %v", p.number, p.err)
		}
		for n, want := range p.acked {
			if !want.acked {
				continue
			}
			count++
			if got := seen[id{p.number, uint32(n)}]; got != want {
				t.Errorf("record %d of producer %d was acknowledged at %+v and is at %+v", n, p.number, want, got)
			}
		}
	}
	t.Logf("%d records acknowledged, %d there", count, len(seen))
}
