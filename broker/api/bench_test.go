package api

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol"
)

// The hot paths of this package and how many allocations each may have. They must
// not grow with the number of records or their size.
var hotPaths = []struct {
	name   string
	allocs float64
	make   func(testing.TB) (run func(), bytes int)
}{
	{"ProduceDecode/1part", 0, func(tb testing.TB) (func(), int) { return produceDecode(tb, 1, 1<<20) }},
	{"ProduceDecode/100parts", 0, func(tb testing.TB) (func(), int) { return produceDecode(tb, 100, 1000) }},
	{"ProduceEncode/100parts", 1, produceEncode},
	{"FetchDecode/100parts", 0, fetchDecode},
	{"FetchEncode/100parts", 1, fetchEncode},
}

func TestHotPathAllocations(t *testing.T) {
	race.Skip(t, "the race detector allocates")
	for _, p := range hotPaths {
		run, _ := p.make(t)
		run()
		if n := testing.AllocsPerRun(100, run); n > p.allocs {
			t.Errorf("%s: %.0f allocations, at most %.0f are allowed", p.name, n, p.allocs)
		}
	}
}

func BenchmarkCodec(b *testing.B) {
	for _, p := range hotPaths {
		b.Run(p.name, func(b *testing.B) {
			run, size := p.make(b)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}

func produceDecode(tb testing.TB, partitions, size int) (func(), int) {
	req := produceOne("a-topic-name", 0, 1, make([]byte, size))
	req.Version = 11
	for range partitions - 1 {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
	}
	body := req.AppendTo(nil)
	var p produceRequest
	return func() {
		if err := p.decode(11, body); err != nil {
			tb.Fatal(err)
		}
		n := 0
		for p.nextTopic() {
			for p.nextPartition() {
				n++
			}
		}
		if n != partitions {
			tb.Fatalf("%d partitions", n)
		}
	}, len(body)
}

func produceEncode(testing.TB) (func(), int) {
	name := []byte("a-topic-name")
	pool := server.NewReplyPool()
	return func() {
		reply := pool.NewReply()
		w := newProduceResponse(reply, 11, 1)
		w.beginTopic(name, 100)
		for i := range int32(100) {
			w.partition(&producePartition{partition: i, baseOffset: 7, appendTimeMS: -1, currentLeader: noHint})
		}
		w.endTopic()
		w.end(nil)
		reply.Discard()
	}, 0
}

func fetchDecode(tb testing.TB) (func(), int) {
	req := fetchOne("a-topic-name", 0, 0)
	req.Version = 17
	for range 99 {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
	}
	body := req.AppendTo(nil)
	var f fetchRequest
	return func() {
		if err := f.decode(17, body); err != nil {
			tb.Fatal(err)
		}
		n := 0
		for f.nextTopic() {
			for f.nextPartition() {
				n++
			}
		}
		if n != 100 {
			tb.Fatalf("%d partitions", n)
		}
	}, len(body)
}

func fetchEncode(tb testing.TB) (func(), int) {
	records := make([]byte, 1000)
	results := make([]fetchResult, 100)
	pool := server.NewReplyPool()
	src := bytes.NewReader(records)
	return func() {
		for i := range results {
			results[i] = fetchResult{topicID: topicID("t"), partition: int32(i), divergingEpoch: -1, currentLeader: noHint, records: server.Range{File: src, Len: len(records)}}
		}
		reply := pool.NewReply()
		appendFetchResponse(reply, 17, 0, 5, results, nil, nil)
		reply.Discard()
	}, 100 * len(records)
}

// roundTrip makes whole requests, from the connection into a log on disk and
// back. The client's side allocates nothing.
func roundTrip(tb testing.TB, req kmsg.Request, version int16) func() {
	w := newWorld(tb, "log.dirs="+tb.TempDir())
	w.lead("t", 1, 0)
	w.produce("t", 0, batch(16, 1000))
	req.SetVersion(version)
	frame := protocol.EncodeRequest(nil, 1, "client", req)
	reply := make([]byte, 1<<20)
	return func() {
		if _, err := w.conn.Write(frame); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.ReadFull(w.conn, reply[:4]); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.ReadFull(w.conn, reply[:binary.BigEndian.Uint32(reply)]); err != nil {
			tb.Fatal(err)
		}
	}
}

var produceSizes = []struct {
	name           string
	records, bytes int
}{{"100B", 1, 100}, {"16KiB", 16, 1000}, {"1MB", 100, 10000}}

// BenchmarkProduce: B/op must not grow with the batch.
func BenchmarkProduce(b *testing.B) {
	for _, size := range produceSizes {
		b.Run(size.name, func(b *testing.B) {
			run := roundTrip(b, produceOne("t", 0, -1, batch(size.records, size.bytes)), 9)
			b.SetBytes(int64(size.records * size.bytes))
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}

// BenchmarkFetch reads the same 16 KB again and again, without a session.
func BenchmarkFetch(b *testing.B) {
	run := roundTrip(b, fetchOne("t", 0, 0), 12)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func TestRoundTripAllocations(t *testing.T) {
	race.Skip(t, "the race detector allocates")
	for _, size := range produceSizes {
		run := roundTrip(t, produceOne("t", 0, -1, batch(size.records, size.bytes)), 9)
		run()
		if n := testing.AllocsPerRun(30, run); n > 3 {
			t.Errorf("produce of %s: %.0f allocations", size.name, n)
		}
		// However large the batch: what holds it comes from a pool, which the
		// garbage collector empties now and then.
		if n := bytesPerRun(300, run); n > 16<<10 {
			t.Errorf("produce of %s: %d bytes are allocated", size.name, n)
		}
	}
	run := roundTrip(t, fetchOne("t", 0, 0), 12)
	run()
	if n := testing.AllocsPerRun(30, run); n > 20 {
		t.Errorf("fetch: %.0f allocations", n)
	}
	if n := bytesPerRun(300, run); n > 4<<10 {
		t.Errorf("fetch: %d bytes are allocated", n)
	}
}

// bytesPerRun is how many bytes a run of f allocates, in all goroutines.
func bytesPerRun(runs uint64, f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}
