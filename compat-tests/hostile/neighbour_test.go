package hostile

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A neighbour is a client with good manners: it produces a record and fetches it,
// again and again, at a steady pace.
type neighbour struct {
	v    *victim
	stop chan struct{}
	done sync.WaitGroup
	took []time.Duration
	err  error
}

const pace = 10 * time.Millisecond

// How much longer than in quiet half of the rounds may take, and nineteen of twenty;
// and how long each. On two cores, with up to eight times as much to do as they can,
// they have taken 4, 55 and 1,860 ms; when whatever computes was let on all processors,
// and one bound held up all who wait for room for replies, 8 to 19 and 100 to 350 ms.
const (
	noticedHalf = 10 * time.Millisecond
	noticed     = 150 * time.Millisecond
	noticedOnce = 5 * time.Second
)

func (v *victim) neighbour() *neighbour {
	n := &neighbour{v: v, stop: make(chan struct{})}
	c := v.dial()
	n.done.Go(func() {
		defer c.Close()
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-n.stop:
				return
			case <-tick.C:
			}
			begin := time.Now()
			c.SetDeadline(begin.Add(patience)) // attacks take longer than one lasts
			if n.err = n.once(c); n.err != nil {
				return
			}
			n.took = append(n.took, time.Since(begin))
		}
	})
	return n
}

func (n *neighbour) once(c net.Conn) error {
	produce := produceTo("t", batch(0, []byte("neighbour")))
	produce.SetVersion(9)
	reply, err := ask(c, frame(produce))
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	answer := kmsg.NewPtrProduceResponse()
	answer.SetVersion(9)
	if err := answer.ReadFrom(reply[1:]); err != nil {
		return err
	}
	p := answer.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return fmt.Errorf("produce: error code %d", p.ErrorCode)
	}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(11)
	fetch.MaxWaitMillis, fetch.MinBytes, fetch.MaxBytes, fetch.SessionEpoch = 1000, 1, 1<<20, -1
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = p.BaseOffset, 1<<20
	fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	if reply, err = ask(c, frame(fetch)); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	fetched := kmsg.NewPtrFetchResponse()
	fetched.SetVersion(11)
	if err := fetched.ReadFrom(reply); err != nil {
		return err
	}
	if len(fetched.Topics[0].Partitions[0].RecordBatches) == 0 {
		return errors.New("fetch: no records")
	}
	return nil
}

// end returns how long produce and fetch took.
func (n *neighbour) end() latency {
	n.v.t.Helper()
	close(n.stop)
	n.done.Wait()
	if n.err != nil || len(n.took) == 0 {
		n.v.t.Fatalf("the neighbour, after %d rounds: %v", len(n.took), n.err)
	}
	slices.Sort(n.took)
	return latency{half: n.took[len(n.took)/2], most: n.took[len(n.took)*95/100], slowest: n.took[len(n.took)-1]}
}

// latency is what half of the rounds took at most, nineteen of twenty, and all.
type latency struct{ half, most, slowest time.Duration }

func (l latency) String() string {
	return fmt.Sprintf("%v (half), %v (19 of 20), %v (all)", l.half.Round(10*time.Microsecond), l.most.Round(10*time.Microsecond), l.slowest.Round(time.Millisecond))
}
