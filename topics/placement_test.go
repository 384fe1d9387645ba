package topics

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"
)

// TestPlacementIsKafkas compares with what Kafka's own code returned. Errors are
// given by Kafka's class and message.
func TestPlacementIsKafkas(t *testing.T) {
	classes := map[*kerr.Error]string{
		kerr.InvalidPartitions:        "InvalidPartitionsException",
		kerr.InvalidReplicationFactor: "InvalidReplicationFactorException",
		kerr.UnknownServerError:       "AdminOperationException",
	}
	datadriven.RunTest(t, "testdata/placement", func(t *testing.T, d *datadriven.TestData) string {
		var brokers []location
		for _, arg := range d.CmdArgs {
			if arg.Key != "brokers" {
				continue
			}
			for _, v := range arg.Vals {
				id, rack, _ := strings.Cut(v, ":")
				n, err := strconv.Atoi(id)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				brokers = append(brokers, location{int32(n), rack})
			}
		}
		var partitions int32
		var replicas, first int
		var from start
		d.ScanArgs(t, "partitions", &partitions)
		d.ScanArgs(t, "replicas", &replicas)
		d.ScanArgs(t, "start", &from.index)
		d.ScanArgs(t, "first", &first)
		from.shift, from.partition = from.index, first
		placed, err := place(brokers, partitions, replicas, from)
		if err != nil {
			var kind *kerr.Error
			if !errors.As(err, &kind) {
				t.Fatal(err)
			}
			return fmt.Sprintf("error %s: %v\n", classes[kind], err)
		}
		var out strings.Builder
		for i, ids := range placed {
			fmt.Fprintf(&out, "%d: %s\n", first+i, strings.ReplaceAll(joinIDs(ids), " ", ""))
		}
		return out.String()
	})
}

// TestPlacementSpreads holds the promises of placement for random clusters.
func TestPlacementSpreads(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + rnd.IntN(9)
		racks := rnd.IntN(4) // 0: none
		brokers := make([]location, n)
		distinct := map[string]bool{}
		for i := range brokers {
			brokers[i].id = int32(10 * i)
			if racks > 0 {
				brokers[i].rack = fmt.Sprint("r", rnd.IntN(racks))
				distinct[brokers[i].rack] = true
			}
		}
		replicas := 1 + rnd.IntN(n)
		partitions := int32(1 + rnd.IntN(4*n))
		placed, err := place(brokers, partitions, replicas, randomStart(n, rnd.IntN))
		if err != nil {
			t.Fatal(err)
		}
		leads := map[int32]int{}
		for number, ids := range placed {
			leads[ids[0]]++
			used := map[string]bool{}
			for i, id := range ids {
				if slices.Contains(ids[:i], id) {
					t.Fatalf("partition %d: %v has a broker twice", number, ids)
				}
				used[brokers[id/10].rack] = true
			}
			if racks > 0 && len(used) != min(len(distinct), replicas) {
				t.Fatalf("partition %d: %v is in %d racks of %d", number, ids, len(used), len(distinct))
			}
		}
		for _, b := range brokers {
			if count := leads[b.id]; count < int(partitions)/n || count > (int(partitions)+n-1)/n {
				t.Fatalf("broker %d leads %d of %d partitions on %d brokers", b.id, count, partitions, n)
			}
		}
	}
}
