package api

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/replica"
)

// randomSeeds is how many schedules are tried. SEED replays one of them; SEEDS asks
// for more.
const randomSeeds = 60

// Three brokers with a partition, acks=all and min.insync.replicas=2, in a network
// that delays and breaks connections, under a controller that moves leadership,
// while brokers crash one at a time:
//
//   - every acknowledged record is there once, at its offset, whoever leads;
//   - replicas are byte-identical below the high watermark;
//   - the latest offset that clients are told never goes back.
//
// With flush.messages=1 the crashes are power losses.
func TestReplicationUnderFaults(t *testing.T) {
	first, n := uint64(0), uint64(randomSeeds)
	if race.Enabled {
		n /= 6 // each takes many times as long
	}
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		first, n = s, 1
	} else if s, err := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64); err == nil {
		n = s
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newFaultRun(t, seed).run() })
		})
	}
}

// faultRun is one schedule.
type faultRun struct {
	*nodes
	rng     *rand.Rand
	durable bool // flush.messages=1: crashes are power losses

	mu     sync.Mutex
	acked  map[int64]string // by offset
	latest int64            // that a client was told
	stop   bool
}

func newFaultRun(t *testing.T, seed uint64) *faultRun {
	rng := rand.New(rand.NewPCG(seed, 7))
	r := &faultRun{rng: rng, durable: rng.IntN(2) == 0, acked: map[int64]string{}}
	properties := []string{"min.insync.replicas=2", "replica.lag.time.max.ms=3000", "log.segment.bytes=2000"}
	if r.durable {
		properties = append(properties, "log.flush.interval.messages=1")
	}
	r.nodes = newNodes(t, 3, properties...)
	w := &r.nodes.weather
	w.mu.Lock()
	w.rng, w.delay, w.cut = rand.New(rand.NewPCG(seed, 8)), time.Duration(1+rng.IntN(40))*time.Millisecond, []int{0, 300, 40}[rng.IntN(3)]
	w.mu.Unlock()
	answers := rand.New(rand.NewPCG(seed, 9))
	r.onAlter = func(req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
		r.mu.Lock()
		fate := answers.IntN(6)
		r.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		switch fate {
		case 0:
			return nil, errors.New("the request is lost")
		case 1:
			r.decideAll(req)
			return nil, errors.New("the answer is lost")
		}
		return nil, nil
	}
	return r
}

// decideAll has the controller decide without the leader hearing of it.
func (r *faultRun) decideAll(req *kmsg.AlterPartitionRequest) {
	r.nodes.mu.Lock()
	defer r.nodes.mu.Unlock()
	for _, t := range req.Topics {
		for i := range t.Partitions {
			r.decide(t0, &t.Partitions[i])
		}
	}
}

func (r *faultRun) run() {
	r.create(t0, 1, 2, 3)
	var clients sync.WaitGroup
	for c := range 3 {
		clients.Go(func() { r.produce(c) })
	}
	clients.Go(r.watchLatest)
	for range 12 + r.rng.IntN(10) {
		time.Sleep(time.Duration(r.rng.IntN(4000)) * time.Millisecond)
		r.fault()
	}
	r.heal()
	r.mu.Lock()
	r.stop = true
	r.mu.Unlock()
	clients.Wait()
	time.Sleep(10 * time.Second)
	r.check()
}

// fault does one thing to the cluster.
func (r *faultRun) fault() {
	up := r.up()
	switch r.rng.IntN(6) {
	case 0, 1:
		r.elect(up)
	case 2:
		if len(up) < 3 {
			break // one at a time
		}
		victim := up[r.rng.IntN(len(up))]
		var power *rand.Rand
		if r.durable {
			power = r.rng
		}
		r.kill(victim, power)
		r.without(victim)
	case 3:
		for id := int32(1); id <= 3; id++ {
			if !slices.Contains(up, id) {
				r.restart(id)
			}
		}
	case 4:
		a, b := 1+r.rng.Int32N(3), 1+r.rng.Int32N(3)
		if a != b {
			r.weather.part(a, b, true)
		}
	case 5:
		r.join()
	}
}

func (r *faultRun) join() {
	for _, pair := range [][2]int32{{1, 2}, {1, 3}, {2, 3}} {
		r.weather.part(pair[0], pair[1], false)
	}
}

// elect makes a live member of the ISR leader.
func (r *faultRun) elect(up []int32) {
	live := r.live(up)
	if len(live) == 0 {
		return
	}
	r.install(live[r.rng.IntN(len(live))])
}

func (r *faultRun) live(up []int32) (live []int32) {
	for _, id := range r.isr(t0) {
		if slices.Contains(up, id) {
			live = append(live, id)
		}
	}
	return live
}

// install decides on a leader and tells the brokers in any order and at any time;
// none that it is told must be missed.
func (r *faultRun) install(leader int32) {
	r.nodes.mu.Lock()
	d := r.partitions[t0]
	d.leader = leader
	d.epoch++
	d.version++
	r.nodes.mu.Unlock()
	r.tellAll()
	up := r.up()
	r.rng.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
	for _, id := range up {
		time.Sleep(time.Duration(r.rng.IntN(300)) * time.Millisecond)
		r.tell(id)
	}
}

func (r *faultRun) tell(id int32) {
	if err := r.trySend(t0, id); err != nil {
		r.t.Errorf("broker %d: %v", id, err)
	}
}

// without has a broker that died leave the ISR, and another one lead if it did.
// The last member stays.
func (r *faultRun) without(id int32) {
	r.nodes.mu.Lock()
	d := r.partitions[t0]
	if len(d.isr) > 1 {
		d.isr = slices.DeleteFunc(slices.Clone(d.isr), func(m int32) bool { return m == id })
	}
	leader := d.leader
	r.nodes.mu.Unlock()
	if live := r.live(r.up()); leader == id && len(live) > 0 {
		leader = live[0]
	}
	r.install(leader)
}

func (r *faultRun) restart(id int32) {
	r.start(id)
	r.nodes.mu.Lock()
	leader := r.partitions[t0].leader
	r.nodes.mu.Unlock()
	r.tell(id)
	if !slices.Contains(r.up(), leader) {
		r.elect(r.up())
	}
}

// heal brings everybody back.
func (r *faultRun) heal() {
	r.join()
	for id := int32(1); id <= 3; id++ {
		if !slices.Contains(r.up(), id) {
			r.restart(id)
		}
	}
	r.elect(r.up())
	time.Sleep(20 * time.Second)
}

func (r *faultRun) stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop
}

// leader is the broker that the controller has made leader, if it is up.
func (r *faultRun) leader() *replica.Partition {
	r.nodes.mu.Lock()
	n := r.brokers[r.partitions[t0].leader]
	r.nodes.mu.Unlock()
	if n == nil {
		return nil
	}
	p, err := n.replicas.Partition(t0)
	if err != nil {
		return nil
	}
	return p
}

// produce sends records one after the other with acks=all. One that fails is not
// sent again: nobody knows whether it is there.
func (r *faultRun) produce(client int) {
	for i := 0; !r.stopped(); i++ {
		time.Sleep(time.Duration(20+client*30) * time.Millisecond)
		p := r.leader()
		if p == nil {
			continue
		}
		value := fmt.Sprintf("client %d record %d", client, i)
		res, err := p.Append(oneRecord(value), replica.AppendRequest{ProduceVersion: 11, Acks: replica.AcksAll})
		if err != nil {
			continue
		}
		done := make(chan error, 1)
		cancel, now := p.NotifyAt(res.LastOffset+1, res.LeaderEpoch, func(err error) { done <- err })
		if !now {
			select {
			case err = <-done:
			case <-time.After(5 * time.Second):
				cancel()
				err = kerr.RequestTimedOut
			}
		}
		if err != nil {
			continue
		}
		r.mu.Lock()
		if was, twice := r.acked[res.BaseOffset]; twice {
			r.t.Errorf("offset %d was acknowledged for %q and for %q", res.BaseOffset, was, value)
		}
		r.acked[res.BaseOffset] = value
		r.mu.Unlock()
	}
}

// watchLatest asks the leader for the latest offset, as consumers do.
func (r *faultRun) watchLatest() {
	for !r.stopped() {
		time.Sleep(35 * time.Millisecond)
		p := r.leader()
		if p == nil {
			continue
		}
		r.mu.Lock()
		least := r.latest
		r.mu.Unlock()
		found, err := p.ListOffsets(replica.ListOffsetsRequest{Timestamp: replica.Latest, CurrentLeaderEpoch: replica.NoEpoch, Client: true})
		if err != nil {
			continue
		}
		if found.Offset < least {
			r.t.Errorf("the latest offset is %d in epoch %d, after it was %d", found.Offset, found.LeaderEpoch, least)
		}
		r.mu.Lock()
		r.latest = max(r.latest, found.Offset)
		r.mu.Unlock()
	}
}

// check looks at what the brokers have when everything has calmed down.
func (r *faultRun) check() {
	t := r.t
	if isr := r.isr(t0); len(isr) != 3 {
		t.Errorf("in sync are %v", isr)
	}
	first := r.log(1, t0)
	for id := int32(1); id <= 3; id++ {
		log := r.log(id, t0)
		if log.EndOffset() != first.EndOffset() || log.HighWatermark() != log.EndOffset() {
			t.Errorf("broker %d: ends at %d, high watermark %d, broker 1 ends at %d", id, log.EndOffset(), log.HighWatermark(), first.EndOffset())
		}
		if !bytes.Equal(r.bytes(1, t0, 0, first.HighWatermark()), r.bytes(id, t0, 0, first.HighWatermark())) {
			t.Errorf("brokers 1 and %d differ", id)
		}
	}
	have := map[int64]string{}
	offsets := map[string]int64{}
	for batches := r.bytes(1, t0, 0, first.HighWatermark()); len(batches) > 0; {
		b, rest, err := record.Next(batches)
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			value, at := string(rec.Value), b.Offset(rec)
			if before, twice := offsets[value]; twice {
				t.Errorf("%q is at %d and at %d", value, before, at)
			}
			offsets[value], have[at] = at, value
		}
		batches = rest
	}
	for at, value := range r.acked {
		if have[at] != value {
			t.Errorf("%q was acknowledged at %d, where there is %q", value, at, have[at])
		}
	}
	if len(r.acked) < 10 {
		t.Errorf("only %d records were acknowledged", len(r.acked))
	}
}
