package topics_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// TestTenThousandPartitions makes and deletes 10,000 partitions, in one topic and in
// a thousand, on the embedded ZooKeeper with its file (fewer under the race
// detector). The bound is generous: the point is that nothing in the way is quadratic.
func TestTenThousandPartitions(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 10,000 partitions on disk")
	}
	slow := int32(1) // how many times longer the race detector makes things take
	if race.Enabled {
		slow = 5
	}
	shapes := []struct{ topics, partitions int32 }{{1, 10_000 / slow}, {1000 / slow, 10}}
	for _, shape := range shapes {
		t.Run(fmt.Sprintf("%dx%d", shape.topics, shape.partitions), func(t *testing.T) {
			store, err := zkserver.OpenBolt(filepath.Join(t.TempDir(), "zookeeper.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			l, stop := newLab(t, store, nil)
			defer stop()
			var requests []topics.CreateRequest
			var names []string
			for i := range shape.topics {
				name := fmt.Sprint("topic", i)
				names = append(names, name)
				requests = append(requests, topics.CreateRequest{Name: name, Partitions: shape.partitions, ReplicationFactor: 1})
			}
			start := time.Now()
			for _, r := range l.topics.Create(l.ctx, requests, time.Minute, false) {
				if r.Err != nil {
					t.Fatalf("%s: %v", r.Name, r.Err)
				}
			}
			created := time.Since(start)
			if n := l.view.Snapshot().PartitionCount(); n != 10_000/int(slow) {
				t.Errorf("%d partitions in the view", n)
			}
			start = time.Now()
			for i, err := range l.topics.Delete(l.ctx, names, time.Minute) {
				if err != nil {
					t.Fatalf("%s: %v", names[i], err)
				}
			}
			t.Logf("created in %v, deleted in %v; requests to the broker: %v", created, time.Since(start), l.brokers.requests)
			if created > 20*time.Second {
				t.Errorf("creating took %v", created)
			}
		})
	}
}
