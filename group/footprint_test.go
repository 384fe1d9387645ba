package group

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol"
)

// What groups are thought to take in memory is about what they take: a budget that is
// off by much bounds nothing, or too much.
func TestFootprint(t *testing.T) {
	race.Skip(t, "it measures memory, in one goroutine")
	limits := settingsForTests().Limits
	now := time.Now()
	reply := func(JoinResult) {}
	name := func(i int) string { return fmt.Sprintf("%s%06d", strings.Repeat("x", 10), i) }
	for _, c := range []struct {
		name string
		n    int
		fill func(hosts []*hosted, n int) []*hosted
	}{
		{"groups", 10_000, func(hosts []*hosted, n int) []*hosted {
			for i := range n {
				hosts = append(hosts, &hosted{group: newClassicGroup(name(i), &limits, now)})
			}
			return hosts
		}},
		{"groups of one member", 10_000, func(hosts []*hosted, n int) []*hosted {
			for i := range n {
				g := newClassicGroup(name(i), &limits, now)
				var fx effects
				r := JoinRequest{Group: name(i), ClientID: name(i), ClientHost: name(i), ProtocolType: "consumer", Protocols: []Protocol{{name(i), make([]byte, 100)}}, SessionTimeout: time.Minute}
				g.join(now, &r, newMemberID(&r), reply, &fx)
				hosts = append(hosts, &hosted{group: g})
			}
			return hosts
		}},
		{"members of a group", 3_000, func(hosts []*hosted, n int) []*hosted {
			g := newClassicGroup("g", &limits, now)
			g.limits = &Limits{MaxSize: n}
			for i := range n {
				var fx effects
				r := JoinRequest{Group: "g", InstanceID: pointer(name(i)), ClientID: name(i), ClientHost: name(i), ProtocolType: "consumer",
					Protocols: []Protocol{{"range", make([]byte, 50)}, {"sticky", make([]byte, 50)}}, SessionTimeout: time.Minute}
				g.join(now, &r, newMemberID(&r), reply, &fx)
			}
			return append(hosts, &hosted{group: g})
		}},
		{"ids", maxPending, func(hosts []*hosted, n int) []*hosted {
			g := newClassicGroup("g", &limits, now)
			for i := range n {
				var fx effects
				r := JoinRequest{Group: "g", ClientID: name(i), ProtocolType: "consumer", Protocols: []Protocol{{Name: "range"}}, SessionTimeout: time.Minute, TwoSteps: true}
				g.join(now, &r, newMemberID(&r), reply, &fx)
			}
			return append(hosts, &hosted{group: g})
		}},
		{"offsets", 100_000, func(hosts []*hosted, n int) []*hosted {
			g := newClassicGroup("g", &limits, now)
			for i := range n {
				g.store(protocol.TopicPartition{Topic: name(i), Partition: int32(i)}, storedOffset{OffsetValue{Offset: 1, Metadata: name(i)}, 1})
			}
			return append(hosts, &hosted{group: g})
		}},
	} {
		before := heapInUse()
		hosts := c.fill(nil, c.n)
		takes := heapInUse() - before
		counted := int64(0)
		for _, h := range hosts {
			counted += int64(h.group.takes)
		}
		runtime.KeepAlive(hosts)
		t.Logf("%s: %d bytes each, %d are counted", c.name, takes/int64(c.n), counted/int64(c.n))
		if counted < takes*2/3 || counted > takes*2 {
			t.Errorf("%d %s take %d bytes, and %d are counted", c.n, c.name, takes, counted)
		}
	}
}

// What a large commit needs while it is on its way to the log goes when it is there.
func TestLargeCommitLeavesItsOffsetsOnly(t *testing.T) {
	const groups, partitions = 100, 1000
	l, stop := benchLab(t)
	defer stop()
	l.discards()
	before := heapInUse()
	for g := range groups {
		c := commitOf(fmt.Sprint("g", g), make([]int64, partitions)...)
		<-l.commit(c)
		is(t, "commit", c.Offsets[0].Err, nil)
	}
	takes := heapInUse() - before
	if counted := l.c.Stats().Bytes; takes > counted*3/2 {
		t.Errorf("%d bytes are taken, %d are counted", takes, counted)
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
