package txn

import (
	"fmt"
	"runtime"
	"testing"
)

// What an id is said to take is about what it takes.
func TestFootprint(t *testing.T) {
	const ids, partitions = 2000, 20
	measure := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := measure()
	table := map[string]*hosted{}
	said := 0
	for i := range ids {
		v := value{producerID: 1, state: Ongoing}
		for n := range partitions {
			v.partitions = append(v.partitions, partitionsNamed(fmt.Sprintf("a-topic-of-%d-%d", i, n))...)
		}
		var fx effects
		id := fmt.Sprint("transactional-id-", i)
		h := &hosted{id: loadedTransaction(id, &Limits{}, v, &fx)}
		table[id] = h
		said += h.id.footprint()
	}
	took := int(measure() - before)
	if said < took*7/10 || said > took*2 {
		t.Errorf("%d bytes were said to be taken, and were %d", said, took)
	}
	runtime.KeepAlive(table)
}
