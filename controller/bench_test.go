package controller

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// BenchmarkControlledShutdown moves 1,000 leaderships from one broker to another. Its
// ZooKeeper is in memory, or with ZOOKEEPER_CONNECT=host:port a real one.
func BenchmarkControlledShutdown(b *testing.B) {
	l := benchLab(b)
	defer l.close()
	l.startController()
	l.brokerUp(2)
	l.brokerUp(3)
	assignment := make([][]int32, 1000)
	tps := make([]protocol.TopicPartition, len(assignment))
	for i := range assignment {
		assignment[i] = []int32{2, 3}
		tps[i] = protocol.TopicPartition{Topic: "t", Partition: int32(i)}
	}
	l.must(l.createTopic("t", assignment, nil))
	for led := 0; led < len(tps); { // until they have a state
		states, err := l.admin.PartitionStates(l.ctx, tps)
		l.must(err)
		led = 0
		for _, s := range states {
			if s.Err == nil {
				led++
			}
		}
	}
	for b.Loop() {
		left, err := l.controller.ControlledShutdown(l.ctx, 2, l.fakes.epochOf(2))
		if err != nil || len(left) > 0 {
			b.Fatalf("still leads %d, error %v", len(left), err)
		}
		b.StopTimer()
		l.handBack(tps)
		b.StartTimer()
	}
}

// benchLab is a lab outside of any bubble.
func benchLab(b *testing.B) *lab {
	connect := os.Getenv("ZOOKEEPER_CONNECT")
	if connect == "" {
		return newLab(b, nil)
	}
	l := &lab{t: b, ctx: context.Background(), others: map[int32]*session.Client{}}
	l.chroot = fmt.Sprint("/controller-bench-", rand.Uint32())
	l.dial = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", connect)
	}
	l.prepare(nil)
	return l
}

// handBack restarts broker 2 and has it lead every partition again, with 3 in sync.
func (l *lab) handBack(tps []protocol.TopicPartition) {
	l.t.Helper()
	l.brokerDown(2)
	l.brokerUp(2)
	states, err := l.admin.PartitionStates(l.ctx, tps)
	l.must(err)
	changes := make([]ISRChange, len(tps))
	for i, s := range states {
		changes[i] = ISRChange{Topic: s.Topic, Partition: s.Partition, ISR: []int32{3, 2}, LeaderEpoch: s.State.LeaderEpoch, PartitionEpoch: s.ZkVersion}
	}
	for left := true; left; { // until the controller has seen broker 2
		results, err := l.controller.AlterPartition(l.ctx, 3, l.fakes.epochOf(3), changes)
		l.must(err)
		left = slices.ContainsFunc(results, func(r ISRResult) bool { return r.Err != nil })
	}
	results, err := l.controller.ElectLeaders(l.ctx, false, tps)
	l.must(err)
	for _, r := range results {
		l.must(r.Err)
	}
}
