package api

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// realNodes are brokers on the disk, connected by sockets.
func realNodes(b *testing.B, n int) *nodes {
	ns := &nodes{t: b, brokers: map[int32]*node{}, disks: map[int32]*vfs.Mem{}, partitions: map[protocol.TopicPartition]*decided{}, epochs: 100, real: b.TempDir()}
	ns.settings = newNodes(b, 0).settings
	ns.startAll(n)
	return ns
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReplication appends with acks=all to a partition with two replicas, a MiB
// at a time with four on their way, and reports what leader and follower use
// together.
func BenchmarkReplication(b *testing.B) {
	ns := realNodes(b, 2)
	ns.create(t0, 1, 2)
	p := ns.partition(1, t0)
	records := batch(60, 16<<10)
	const inFlight = 4
	free := make(chan error, inFlight)
	for range inFlight {
		free <- nil
	}
	b.SetBytes(int64(len(records)))
	b.ReportAllocs()
	before := cpu()
	b.ResetTimer()
	for range b.N {
		if err := <-free; err != nil {
			b.Fatal(err)
		}
		record.Batch(records).SetBaseOffset(0) // the append before has changed it
		res, err := p.Append(records, replica.AppendRequest{ProduceVersion: 11, Acks: replica.AcksAll})
		if err != nil {
			b.Fatal(err)
		}
		if _, done := p.NotifyAt(res.LastOffset+1, res.LeaderEpoch, func(err error) { free <- err }); done {
			free <- nil
		}
	}
	for range inFlight {
		if err := <-free; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	gb := float64(b.N) * float64(len(records)) / 1e9
	b.ReportMetric((cpu()-before).Seconds()/gb, "cpu-s/GB")
}

// BenchmarkReplicationLatency is one small record at a time with acks=all.
func BenchmarkReplicationLatency(b *testing.B) {
	ns := realNodes(b, 2)
	ns.create(t0, 1, 2)
	p := ns.partition(1, t0)
	answered := make(chan error, 1)
	for b.Loop() {
		res, err := p.Append(oneRecord("value"), replica.AppendRequest{ProduceVersion: 11, Acks: replica.AcksAll})
		if err != nil {
			b.Fatal(err)
		}
		if _, done := p.NotifyAt(res.LastOffset+1, res.LeaderEpoch, func(err error) { answered <- err }); done {
			continue
		}
		if err := <-answered; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConfirmLeader has callers, one or a hundred at a time, wait until two followers
// have said that they know of no newer leader; cpu-µs is what all three brokers use for
// each.
func BenchmarkConfirmLeader(b *testing.B) {
	for _, callers := range []int{1, 100} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			ns := realNodes(b, 3)
			ns.create(t0, 1, 2, 3)
			p := ns.partition(1, t0)
			before := cpu()
			b.SetParallelism(max(callers/runtime.GOMAXPROCS(0), 1))
			if callers == 1 {
				for b.Loop() {
					if err := p.ConfirmLeader(b.Context(), 0); err != nil {
						b.Fatal(err)
					}
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := p.ConfirmLeader(b.Context(), 0); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportMetric((cpu()-before).Seconds()*1e6/float64(b.N), "cpu-µs")
		})
	}
}

// BenchmarkIdleFollower reports what a leader and a follower of a thousand idle
// partitions use together in a second.
func BenchmarkIdleFollower(b *testing.B) {
	ns := newNodes(b, 2)
	for i := range int32(1000) {
		ns.create(protocol.TopicPartition{Topic: fmt.Sprint("topic", i), Partition: 0}, 1, 2)
	}
	time.Sleep(2 * time.Second)
	before, began := cpu(), time.Now()
	b.ResetTimer()
	for range b.N {
		time.Sleep(time.Second)
	}
	b.ReportMetric((cpu()-before).Seconds()*1000/time.Since(began).Seconds(), "cpu-ms/s")
}
