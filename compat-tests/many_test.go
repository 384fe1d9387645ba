package compat

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestTenThousandPartitions has a broker keep 10,000 partitions while it may
// open 4096 files, through clean stops and kill -9.
func TestTenThousandPartitions(t *testing.T) {
	const topics, each = 20, 500
	for _, target := range harness.Targets(t)[:1] {
		t.Run(target.Name, func(t *testing.T) {
			o := harness.Options{Dirs: []string{filepath.Join(t.TempDir(), "data")}, OpenFiles: 4096}
			b := target.Start(t, o)
			o = b.Options
			admin := kadm.NewClient(franz(t, b))
			admin.SetTimeoutMillis(120000)
			ctx := within(t, 4*time.Minute)
			begin := time.Now()
			var names []string
			for i := range topics {
				names = append(names, fmt.Sprintf("many-%d", i))
			}
			created, err := admin.CreateTopics(ctx, each, 1, map[string]*string{"retention.ms": kadm.StringPtr("-1")}, names...)
			if err != nil || created.Error() != nil {
				t.Fatalf("create: %v %v", err, created.Error())
			}
			t.Logf("created within %v", time.Since(begin).Round(time.Millisecond))
			if took := time.Since(begin); took > 60*time.Second {
				t.Errorf("creating took %v", took)
			}
			expectMemory := func(what string, most int) {
				t.Helper()
				got := b.Memory("VmHWM")
				t.Logf("%s: %d MB at most", what, got/1e6)
				if target.Name != "kafka" && got > most {
					t.Errorf("%s: the broker had %d MB, more than %d", what, got/1e6, most/1e6)
				}
			}
			expectMemory("created", 80e6)
			const written = 6
			write := func(from, to int) { // a record to each partition, each time
				t.Helper()
				client := franz(t, b, kgo.MaxBufferedRecords(20000))
				for n := from; n < to; n++ {
					var all []*kgo.Record
					for _, name := range names {
						for p := range each {
							all = append(all, &kgo.Record{Topic: name, Partition: int32(p), Value: fmt.Appendf(nil, "%d", n)})
						}
					}
					if err := client.ProduceSync(ctx, all...).FirstErr(); err != nil {
						t.Fatalf("round %d: %v", n, err)
					}
				}
				client.Close()
			}
			write(0, 2)
			expectMemory("written to by idempotent producers", 105e6)
			b.StopCleanly(t)
			b = target.Start(t, o)
			expectMemory("loaded", 115e6)
			write(2, 4)
			b.Kill()
			if target.Name == "kafka" {
				waitForSession(t, o.ZooKeeper)
			}
			begin = time.Now()
			b = target.Start(t, o)
			t.Logf("after kill -9 it was back within %v", time.Since(begin).Round(time.Millisecond))
			write(4, written)
			for _, name := range names {
				for p, end := range endOffsets(t, b, name, each) {
					if end != written {
						t.Errorf("%s-%d ends at %d", name, p, end)
					}
				}
			}
			for _, r := range read(t, b, names[7], each, 0, each*written) {
				for n, one := range r {
					if string(one.Value) != fmt.Sprint(n) {
						t.Fatalf("offset %d has %q", n, one.Value)
					}
				}
			}
		})
	}
}
