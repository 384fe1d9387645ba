package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// readAll is all that is in the topic, by partition, up to where it ends now.
func readAll(t *testing.T, c *harness.Cluster, topic string) [][]*kgo.Record {
	t.Helper()
	from, total := map[int32]kgo.Offset{}, int64(0)
	for p, end := range ends(t, client(t, c.Addrs()), topic) {
		from[p] = kgo.NewOffset().AtStart()
		total += end
	}
	consumer := client(t, c.Addrs(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	ctx := within(t, time.Minute)
	all, n := make([][]*kgo.Record, len(from)), int64(0)
	for n < total {
		fetches := consumer.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d of %d records were read: %v", n, total, fetches.Errors())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			all[r.Partition] = append(all[r.Partition], r)
			n++
		})
	}
	return all
}

// checkReplicas compares the files of all replicas of a topic, up to the last record of
// each partition that was read.
func checkReplicas(t *testing.T, c *harness.Cluster, topic string, read [][]*kgo.Record) {
	t.Helper()
	for p, records := range read {
		checkPartition(t, c, topic, p, 0, int64(len(records)))
	}
}

// checkPartition compares the files of a partition's replicas, batch by batch, between
// two offsets: what is committed is in the files of all, and stays as it is.
func checkPartition(t *testing.T, c *harness.Cluster, topic string, p int, from, end int64) {
	t.Helper()
	var first []byte
	for _, m := range c.Members {
		batches, err := batchesBetween(replicaDir(m, topic, p), from, end)
		if err != nil {
			t.Errorf("partition %d on broker %d: %v", p, m.ID, err)
			continue
		}
		if m.ID == 1 {
			first = batches
		} else if at, same := differ(first, batches); !same {
			t.Errorf("partition %d: the replicas of brokers 1 and %d differ from offset %d on (%d and %d bytes)", p, m.ID, at, len(first), len(batches))
		}
	}
}

func replicaDir(m *harness.Member, topic string, partition int) string {
	return filepath.Join(m.Options.Dirs[0], fmt.Sprintf("%s-%d", topic, partition))
}

// batchHeader is how much of a batch tells its base offset, size and last offset.
const batchHeader = 27

// batchesBetween is the batches of a log, from all segments, that have offsets from from
// on and none from end on.
func batchesBetween(dir string, from, end int64) ([]byte, error) {
	segments, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, err
	}
	slices.Sort(segments)
	var all []byte
	for _, segment := range segments {
		b, err := os.ReadFile(segment)
		if err != nil {
			return nil, err
		}
		for len(b) > 0 {
			if len(b) < batchHeader {
				return nil, fmt.Errorf("%s: %d bytes behind the last batch", segment, len(b))
			}
			size := 12 + int(binary.BigEndian.Uint32(b[8:]))
			if size < batchHeader || size > len(b) {
				return nil, fmt.Errorf("%s: a batch of %d bytes where %d are left", segment, size, len(b))
			}
			last := int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[23:]))
			if last >= end {
				return all, nil
			}
			if last >= from {
				all = append(all, b[:size]...)
			}
			b = b[size:]
		}
	}
	return all, nil
}

// differ finds the offset of the first batch that is not the same in both.
func differ(a, b []byte) (offset int64, same bool) {
	for len(a) >= batchHeader {
		size := 12 + int(binary.BigEndian.Uint32(a[8:]))
		if len(b) < size || !bytes.Equal(a[:size], b[:size]) {
			return int64(binary.BigEndian.Uint64(a)), false
		}
		a, b = a[size:], b[size:]
	}
	if len(b) >= batchHeader {
		return int64(binary.BigEndian.Uint64(b)), false
	}
	return 0, true
}
