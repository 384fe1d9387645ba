package compat

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestCrash keeps idempotent producers busy while the broker is killed at
// random moments and started again. In the end every acknowledged record is
// there once, in order, at the offset that was acknowledged.
//
// CRASH_ROUNDS says how often it is killed; CRASH_SEED repeats the moments.
func TestCrash(t *testing.T) {
	rounds := fromEnvironment(t, "CRASH_ROUNDS", 3)
	seed := fromEnvironment(t, "CRASH_SEED", int(rand.Int32()))
	t.Logf("CRASH_SEED=%d", seed)
	for _, target := range harness.Targets(t) {
		t.Run(target.Name, func(t *testing.T) { crash(t, target, rounds, rand.New(rand.NewPCG(uint64(seed), 0))) })
	}
}

func fromEnvironment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

const (
	crashTopic      = "crash"
	crashPartitions = 4
)

func crash(t *testing.T, target harness.Target, rounds int, random *rand.Rand) {
	// The producers must find it again at the same place.
	o := harness.Options{
		Dirs: []string{filepath.Join(t.TempDir(), "data")},
		Properties: []string{fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d", harness.FreePort(t)),
			"zookeeper.session.timeout.ms=6000", "log.segment.bytes=200000"},
	}
	b := target.Start(t, o)
	o = b.Options // with its ZooKeeper
	createTopic(t, b, crashTopic, crashPartitions, nil)

	ctx, stop := context.WithCancel(within(t, time.Duration(rounds)*time.Minute+2*time.Minute))
	var loads []*load
	var wg sync.WaitGroup
	for i, codec := range codecs {
		l := &load{producer: uint32(i), client: franz(t, b, kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerLinger(time.Millisecond),
			kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.MetadataMinAge(50*time.Millisecond))}
		loads = append(loads, l)
		wg.Go(func() { l.run(ctx) })
	}
	for round := range rounds {
		before := acknowledged(loads)
		waitUntil(t, "the producers get on", func() bool { return acknowledged(loads) > before+200 })
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		b.Kill()
		t.Logf("kill %d after %d acknowledged records", round+1, acknowledged(loads))
		if target.Name == "kafka" { // it does not start while its old session lives
			waitForSession(t, o.ZooKeeper)
		}
		b = target.Start(t, o)
	}
	before := acknowledged(loads)
	waitUntil(t, "the producers get on", func() bool { return acknowledged(loads) > before+200 })
	stop()
	wg.Wait()
	for _, l := range loads {
		if l.err != nil {
			t.Errorf("producer %d: %v", l.producer, l.err)
		}
	}
	checkCrashed(t, b, loads)
	b.StopCleanly(t)
	dumpLogSegments(t, o.Dirs)
}

// load is one producer. Its records carry its number and their own.
type load struct {
	producer uint32
	client   *kgo.Client

	mu    sync.Mutex
	acked []position // of record n, or of none if that was not acknowledged
	count int        // acknowledged
	err   error
}

type position struct {
	acked     bool
	partition int32
	offset    int64
}

func acknowledged(loads []*load) int {
	n := 0
	for _, l := range loads {
		l.mu.Lock()
		n += l.count
		l.mu.Unlock()
	}
	return n
}

// run produces until ctx ends, a hundred records outstanding at a time.
func (l *load) run(ctx context.Context) {
	slots := make(chan struct{}, 100)
	for n := uint32(0); ctx.Err() == nil; n++ {
		slots <- struct{}{}
		value := make([]byte, 8+n%300)
		binary.BigEndian.PutUint32(value, l.producer)
		binary.BigEndian.PutUint32(value[4:], n)
		l.mu.Lock()
		l.acked = append(l.acked, position{})
		l.mu.Unlock()
		l.client.Produce(context.Background(), &kgo.Record{Topic: crashTopic, Partition: int32(n % crashPartitions), Value: value}, func(r *kgo.Record, err error) {
			l.mu.Lock()
			if err == nil {
				l.acked[n] = position{true, r.Partition, r.Offset}
				l.count++
			} else if l.err == nil {
				l.err = err
			}
			l.mu.Unlock()
			<-slots
		})
	}
	flush, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := l.client.Flush(flush); err != nil {
		l.mu.Lock()
		l.err = errors.Join(l.err, fmt.Errorf("flush: %w", err))
		l.mu.Unlock()
	}
}

// checkCrashed reads all there is and compares it with what was acknowledged.
func checkCrashed(t *testing.T, b *harness.Broker, loads []*load) {
	t.Helper()
	total := 0
	ends := endOffsets(t, b, crashTopic, crashPartitions)
	for _, end := range ends {
		total += int(end)
	}
	type id struct{ producer, n uint32 }
	seen := map[id]position{}
	last := map[[2]uint32]int64{} // producer, partition → last record number
	for p, records := range read(t, b, crashTopic, crashPartitions, 0, total) {
		for i, r := range records {
			if r.Offset != int64(i) {
				t.Fatalf("partition %d: offset %d where %d should be", p, r.Offset, i)
			}
			is := id{binary.BigEndian.Uint32(r.Value), binary.BigEndian.Uint32(r.Value[4:])}
			if twice, ok := seen[is]; ok {
				t.Errorf("record %d of producer %d is there twice: %v and offset %d", is.n, is.producer, twice, r.Offset)
			}
			seen[is] = position{true, r.Partition, r.Offset}
			of := [2]uint32{is.producer, uint32(p)}
			if before, ok := last[of]; ok && before >= int64(is.n) {
				t.Errorf("partition %d: record %d of producer %d comes after record %d", p, is.n, is.producer, before)
			}
			last[of] = int64(is.n)
		}
	}
	count := 0
	for _, l := range loads {
		for n, want := range l.acked {
			if !want.acked {
				continue
			}
			count++
			if got := seen[id{l.producer, uint32(n)}]; got != want {
				t.Errorf("record %d of producer %d was acknowledged at %+v and is at %+v", n, l.producer, want, got)
			}
		}
	}
	t.Logf("%d records acknowledged, %d there", count, len(seen))
}

func endOffsets(t *testing.T, b *harness.Broker, topic string, partitions int) []int64 {
	t.Helper()
	listed, err := kadm.NewClient(franz(t, b)).ListEndOffsets(within(t, 30*time.Second), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]int64, partitions)
	for p := range ends {
		end, ok := listed.Lookup(topic, int32(p))
		if !ok || end.Err != nil {
			t.Fatalf("end of %s-%d: %+v", topic, p, end)
		}
		ends[p] = end.Offset
	}
	return ends
}
