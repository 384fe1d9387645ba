package group

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// benchLab has a coordinator that coordinates all groups.
func benchLab(tb testing.TB) (*lab, func()) {
	l := newLab(tb, memlog.New(), func(s *Settings) { s.InitialRebalanceDelay = 0 })
	l.leads(0, 1)
	l.leads(1, 1)
	for {
		if _, err := l.c.List(); err == nil {
			return l, func() { l.c.Stop(context.Background()) }
		}
		runtime.Gosched() // until they are loaded
	}
}

// BenchmarkHeartbeat is one of a thousand members of a group.
func BenchmarkHeartbeat(b *testing.B) {
	l, stop := benchLab(b)
	defer stop()
	var joins []<-chan JoinResult
	for i := range 1000 {
		joins = append(joins, l.join(JoinRequest{Group: "g", InstanceID: pointer(fmt.Sprint(i)), ClientID: "c"}))
	}
	first := <-joins[0]
	again := l.join(JoinRequest{Group: "g", MemberID: first.MemberID})
	last := <-again
	if last.Err != nil {
		b.Fatal(last.Err)
	}
	r := &HeartbeatRequest{Group: "g", MemberID: last.MemberID, Generation: last.Generation}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.c.Heartbeat(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit commits three partitions, over a log that costs nothing.
func BenchmarkCommit(b *testing.B) {
	l, stop := benchLab(b)
	defer stop()
	c := commitOf("g", 1, 2, 3)
	done := make(chan struct{}, 1)
	f := func() { done <- struct{}{} }
	l.discards()
	b.ReportAllocs()
	for b.Loop() {
		l.c.CommitOffsets(c, f)
		<-done
		if c.Offsets[0].Err != nil {
			b.Fatal(c.Offsets[0].Err)
		}
	}
}

// discards has the coordinator write to a log that costs nothing.
func (l *lab) discards() {
	discard := &discardLog{Log: l.log}
	for _, p := range l.c.led.All() {
		p.appender.Log = discard
	}
}

// discardLog takes everything and keeps nothing.
type discardLog struct {
	*memlog.Log
	base int64
}

func (l *discardLog) Append(_, _ int32, b record.Batch, _ int16, done func(int64, error)) {
	l.base++
	done(l.base, nil)
}

// BenchmarkJoin has a hundred members join at once, and sync.
func BenchmarkJoin(b *testing.B) {
	l, stop := benchLab(b)
	defer stop()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		group := fmt.Sprint("g", n)
		first := l.member(group)
		var joins []<-chan JoinResult
		for range 99 {
			joins = append(joins, l.join(JoinRequest{Group: group, ClientID: "c"}))
		}
		joins = append(joins, l.join(JoinRequest{Group: group, MemberID: first.MemberID}))
		var syncs []<-chan SyncResult
		for _, j := range joins {
			r := <-j
			if r.Err != nil {
				b.Fatal(r.Err)
			}
			syncs = append(syncs, l.sync(SyncRequest{Group: group, MemberID: r.MemberID, Generation: r.Generation}))
		}
		for _, s := range syncs {
			if r := <-s; r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
}

// BenchmarkLoad loads offsets of a thousand groups, all of which are live.
func BenchmarkLoad(b *testing.B) {
	const groups, perGroup = 1000, 100
	var batches []record.Batch
	for g := range groups {
		builder := record.NewBuilder().SetBaseOffset(int64(g * perGroup))
		for p := range int32(perGroup) {
			v := OffsetValue{Offset: 1, LeaderEpoch: 1, CommitMS: 1, ExpireMS: NoExpiry}
			builder.Append(1, appendOffsetKey(nil, fmt.Sprint("group-", g), "a-topic", p), appendOffsetValue(nil, &v))
		}
		batch, err := builder.Build()
		if err != nil {
			b.Fatal(err)
		}
		batches = append(batches, batch)
	}
	b.ReportAllocs()
	for b.Loop() {
		l := newLoader()
		for _, batch := range batches {
			if err := l.add(batch); err != nil {
				b.Fatal(err)
			}
		}
		if l.offsets != groups*perGroup {
			b.Fatal(l.offsets)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(groups*perGroup), "ns/offset")
}
