package topics

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// location is a broker that may hold replicas.
type location struct {
	id   int32
	rack string // "" when it has none
}

// start is where a placement begins.
type start struct {
	index     int // of the first partition's first replica, in the list of brokers
	shift     int // of its second replica, from the first
	partition int // number of the first partition to be placed
}

// randomStart spreads the topics of a cluster over its brokers; n is the number of
// brokers, random returns a number below its argument.
func randomStart(n int, random func(int) int) start {
	if n == 0 {
		return start{}
	}
	return start{index: random(n), shift: random(n)}
}

// place puts the replicas of new partitions on brokers as Kafka does (KIP-36): first
// replicas go round the brokers; each following replica of a partition is shifted,
// by one more for each round, so that the partitions that one broker leads have their
// other replicas spread over all. Where brokers have racks, they are taken from each
// rack in turn, and no rack gets a second replica of a partition before all have one.
//
// brokers is ordered by id. Result i is the assignment of partition from.partition+i.
// Errors wrap kerr.InvalidPartitions, kerr.InvalidReplicationFactor, or
// kerr.UnknownServerError if only some brokers have a rack.
func place(brokers []location, partitions int32, replicas int, from start) ([][]int32, error) {
	switch {
	case partitions <= 0:
		return nil, refuse(kerr.InvalidPartitions, "Number of partitions must be larger than 0.")
	case replicas <= 0:
		return nil, refuse(kerr.InvalidReplicationFactor, "Replication factor must be larger than 0.")
	case replicas > len(brokers):
		return nil, refuse(kerr.InvalidReplicationFactor, "Replication factor: %d larger than available brokers: %d.", replicas, len(brokers))
	}
	racks := map[string]bool{}
	for _, b := range brokers {
		racks[b.rack] = true
	}
	if racks[""] && len(racks) > 1 {
		return nil, refuse(kerr.UnknownServerError, "Not all brokers have rack information for replica rack aware assignment.")
	}
	// Without racks, all brokers are in the one rack "", which changes nothing below
	// but the step by which followers shift.
	if !racks[""] {
		brokers = alternateRacks(brokers)
	}
	placed := make([][]int32, partitions)
	for i := range placed {
		number := from.partition + i
		if number > 0 && number%len(brokers) == 0 {
			from.shift++
		}
		placed[i] = placeOne(brokers, len(racks), replicas, (number+from.index)%len(brokers), from.shift)
	}
	return placed, nil
}

// placeOne places one partition whose first replica is on brokers[first].
func placeOne(brokers []location, racks, replicas, first, shift int) []int32 {
	n := len(brokers)
	assigned := make([]int32, 1, replicas)
	assigned[0] = brokers[first].id
	used := []string{brokers[first].rack}
	for step := 0; len(assigned) < replicas; step++ {
		b := brokers[(first+1+(shift*racks+step)%(n-1))%n]
		if slices.Contains(used, b.rack) && len(used) < racks || slices.Contains(assigned, b.id) {
			continue
		}
		assigned = append(assigned, b.id)
		if !slices.Contains(used, b.rack) {
			used = append(used, b.rack)
		}
	}
	return assigned
}

// alternateRacks orders brokers so that neighbours are in different racks, as far as
// that goes: the first of each rack, then the second of each, and so on.
func alternateRacks(brokers []location) []location {
	turn := map[string]int{}
	type seat struct {
		location
		round int
	}
	seats := make([]seat, len(brokers))
	for i, b := range brokers {
		seats[i] = seat{b, turn[b.rack]}
		turn[b.rack]++
	}
	slices.SortStableFunc(seats, func(a, b seat) int {
		return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.rack, b.rack))
	})
	out := make([]location, len(brokers))
	for i, s := range seats {
		out[i] = s.location
	}
	return out
}
