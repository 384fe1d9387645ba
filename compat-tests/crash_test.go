package compat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
	"github.com/gracchus-mq/gracchus/compat-tests/load"
)

// TestCrash keeps idempotent producers busy while the broker is killed at
// random moments and started again. In the end every acknowledged record is
// there once, in order, at the offset that was acknowledged.
//
// CRASH_ROUNDS says how often it is killed; CRASH_SEED repeats the moments.
func TestCrash(t *testing.T) {
	rounds := harness.FromEnvironment(t, "CRASH_ROUNDS", 3)
	seed := harness.FromEnvironment(t, "CRASH_SEED", int(rand.Int32()))
	t.Logf("CRASH_SEED=%d", seed)
	for _, target := range harness.Targets(t) {
		t.Run(target.Name, func(t *testing.T) { crash(t, target, rounds, rand.New(rand.NewPCG(uint64(seed), 0))) })
	}
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
	var producers []*load.Producer
	var wg sync.WaitGroup
	for i, codec := range codecs {
		client := franz(t, b, kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerLinger(time.Millisecond),
			kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.MetadataMinAge(50*time.Millisecond))
		p := load.New(client, i, crashTopic, crashPartitions)
		producers = append(producers, p)
		wg.Go(func() { p.Run(ctx) })
	}
	for round := range rounds {
		before := load.Acknowledged(producers)
		waitUntil(t, "the producers get on", func() bool { return load.Acknowledged(producers) > before+200 })
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		b.Kill()
		t.Logf("kill %d after %d acknowledged records", round+1, load.Acknowledged(producers))
		if target.Name == "kafka" { // it does not start while its old session lives
			waitForSession(t, o.ZooKeeper)
		}
		b = target.Start(t, o)
	}
	before := load.Acknowledged(producers)
	waitUntil(t, "the producers get on", func() bool { return load.Acknowledged(producers) > before+200 })
	stop()
	wg.Wait()
	checkCrashed(t, b, producers)
	b.StopCleanly(t)
	dumpLogSegments(t, startTools(t), o.Dirs)
}

// checkCrashed reads all there is and compares it with what was acknowledged.
func checkCrashed(t *testing.T, b *harness.Broker, producers []*load.Producer) {
	t.Helper()
	total := 0
	for _, end := range endOffsets(t, b, crashTopic, crashPartitions) {
		total += int(end)
	}
	load.Check(t, producers, read(t, b, crashTopic, crashPartitions, 0, total))
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
