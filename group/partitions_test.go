package group

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
)

// offsetsTopic is what ZooKeeper says of __consumer_offsets.
type offsetsTopic struct {
	mu         sync.Mutex
	partitions int32 // 0: there is none
	err        error
	asked      int
}

func (o *offsetsTopic) count(context.Context) (int32, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	return o.partitions, o.err
}

func (o *offsetsTopic) is(partitions int32, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partitions, o.err, o.asked = partitions, err, 0
}

// How many partitions there are is read when it is first needed, and then kept, until
// the topic is deleted: a group must not move to another one.
func TestPartitionCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := &offsetsTopic{}
		log := memlog.New()
		c, err := New(Config{Settings: settingsForTests(), Partitions: topic.count}, log)
		if err != nil {
			t.Fatal(err)
		}
		cutOff := errors.New("no session")
		topic.is(0, cutOff)
		if err := c.Start(t.Context()); !errors.Is(err, cutOff) {
			t.Errorf("start without an answer: %v", err)
		}
		topic.is(0, nil)
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := &lab{t, log, c}
		defer l.stop()
		g := groupIn(1) // of two
		fetch := func(want error) {
			t.Helper()
			_, err := c.FetchOffsets(nil, g, nil)
			is(t, "fetch", err, want)
		}
		partitionFor := func(want int32, wantErr error) {
			t.Helper()
			n, err := c.PartitionFor(t.Context(), g)
			is(t, "partition of a group", err, wantErr)
			if n != want {
				t.Errorf("%s belongs to partition %d, want %d", g, n, want)
			}
		}
		partitionFor(0, kerr.CoordinatorNotAvailable)
		fetch(kerr.NotCoordinator)

		// It leads, and what it needs to know cannot be read yet.
		topic.is(0, cutOff)
		l.leads(1, 5)
		synctest.Wait()
		fetch(kerr.CoordinatorLoadInProgress)
		partitionFor(0, cutOff)
		topic.is(2, nil)
		time.Sleep(30 * time.Second) // the longest that it waits
		synctest.Wait()
		fetch(nil)
		partitionFor(1, nil)

		topic.is(1, nil)
		partitionFor(1, nil)
		c.PartitionsDeleted([]protocol.TopicPartition{{Topic: "t"}})
		partitionFor(1, nil)
		fetch(nil)
		if topic.asked > 0 {
			t.Errorf("it was read %d times more", topic.asked)
		}
		c.PartitionsDeleted([]protocol.TopicPartition{offsetsPartition(0), offsetsPartition(1)})
		partitionFor(0, nil)
		fetch(kerr.NotCoordinator)
	})
}
