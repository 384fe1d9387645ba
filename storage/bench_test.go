package storage

import (
	"fmt"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

const manyPartitions = 10_000

// benchStore returns a Store with ten thousand partitions in two directories of
// the real file system.
func benchStore(b *testing.B) *Store {
	b.Helper()
	dir := b.TempDir()
	s, err := openDirs(vfs.OS(), dir+"/a", dir+"/b")
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Identify(1, "c"); err != nil {
		b.Fatal(err)
	}
	if err := load(s); err != nil {
		b.Fatal(err)
	}
	for i := range manyPartitions {
		createBench(b, s, i)
	}
	return s
}

func createBench(b *testing.B, s *Store, i int) {
	if _, err := s.Create(benchPartition(i), protocol.TopicID{1}, smallTopic(), true); err != nil {
		b.Fatal(err)
	}
}

func benchPartition(i int) protocol.TopicPartition {
	return protocol.TopicPartition{Topic: fmt.Sprintf("topic-%d", i/10), Partition: int32(i % 10)}
}

// BenchmarkCheckpoint is the cost of one periodic pass over ten thousand
// partitions: with nothing changed it must not write anything.
func BenchmarkCheckpoint10k(b *testing.B) {
	s := benchStore(b)
	defer s.Stop(b.Context())
	log, _ := s.Log(benchPartition(0))
	d := s.dirs[0]
	update := func() {
		if err := d.checkpoints.update(highWatermarks); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("idle", func(b *testing.B) {
		update()
		b.ReportAllocs()
		for b.Loop() {
			update()
		}
	})
	b.Run("1changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := appendOne(log); err != nil {
				b.Fatal(err)
			}
			log.AdvanceHighWatermark(log.EndOffset())
			update()
		}
	})
}

// BenchmarkCreate is one new partition.
func BenchmarkCreate(b *testing.B) {
	dir := b.TempDir()
	s, err := openDirs(vfs.OS(), dir)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop(b.Context())
	if err := load(s); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		createBench(b, s, i)
		i++
	}
}

// BenchmarkLoad10k is a start: after a clean stop, and after a kill.
func BenchmarkLoad10k(b *testing.B) {
	s := benchStore(b)
	dirs := []string{s.dirs[0].path, s.dirs[1].path}
	for i := range manyPartitions / 10 {
		log, _ := s.Log(benchPartition(10 * i))
		for range 5 {
			if err := appendOne(log); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := s.Stop(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, clean := range []bool{true, false} {
		b.Run(fmt.Sprintf("clean=%v", clean), func(b *testing.B) {
			for b.Loop() {
				s, err := openDirs(vfs.OS(), dirs...)
				if err != nil {
					b.Fatal(err)
				}
				if err := load(s); err != nil {
					b.Fatal(err)
				}
				if clean {
					b.StopTimer()
					if err := s.Stop(b.Context()); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				} else {
					s.releaseAll() // as the kernel does after a kill
				}
			}
		})
	}
}
