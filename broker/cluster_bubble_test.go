package broker

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/internal/seeds"
)

const (
	simTopic      = "t"
	simPartitions = 3
)

// TestClusterInBubble has three whole brokers live through faults that a seed chooses,
// while idempotent producers with acks=all, of which two replicas must be in sync,
// consumers, and members of consumer groups are busy. Meanwhile, and when everything has
// healed:
//
//   - every acknowledged record is there once, in order, at its offset;
//   - replicas are the same, byte by byte, below the high watermark, and as consumers
//     have read them;
//   - never has a partition two leaders in one epoch;
//   - no latest offset that a client was answered goes back;
//   - every partition has a leader within session timeout + 3 s;
//   - no committed offset that was acknowledged is lost or goes back, and none that was
//     deleted comes back;
//   - never has a generation of a group two leaders, or a partition two members in it, and
//     no generation goes back behind one that was stored, nor is anything accepted from
//     members of an earlier one;
//   - nobody answers for a group that it does not coordinate, from the moment on when it
//     ceases to, or has yet to load;
//   - every group is stable, with all of its partitions assigned, within session timeout +
//     rebalance timeout + 5 s.
//
// GRACCHUS_CLUSTER_FROM and GRACCHUS_CLUSTER_SEEDS choose the seeds. A single one is run
// with the brokers' logs. The same seed does the same to the same machines at the same
// times, and the network treats the nth message of a connection alike; what several
// goroutines do at one instant, the Go scheduler orders, and random identifiers differ.
func TestClusterInBubble(t *testing.T) {
	from, n := seeds.Cluster(t, 1, 24)
	for seed := from; seed < from+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			logger := slog.New(slog.DiscardHandler)
			if n == 1 {
				logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			synctest.Test(t, func(t *testing.T) { simulate(t, seed, logger) })
			if t.Failed() {
				t.Logf("again: GRACCHUS_CLUSTER_FROM=%d GRACCHUS_CLUSTER_SEEDS=1 go test -race -run TestClusterInBubble ./broker", seed)
			}
		})
	}
}

func simulate(t *testing.T, seed uint64, logger *slog.Logger) {
	// What is so in all of a seed's rounds.
	durable := seed%2 == 0 // acknowledged means synced
	properties := map[string]string{
		"replica.lag.time.max.ms":              "3000",
		"replica.socket.timeout.ms":            "2000", // else a half-open connection to a leader takes 30 s
		"request.timeout.ms":                   "5000", // which a broker that cannot hand over waits for
		"controlled.shutdown.retry.backoff.ms": "500",
	}
	properties["offsets.topic.num.partitions"] = fmt.Sprint(simOffsetsPartitions)
	properties["group.min.session.timeout.ms"] = "1000"
	properties["group.initial.rebalance.delay.ms"] = fmt.Sprint(seed % 3 * 300)
	properties["min.insync.replicas"] = fmt.Sprint(1 + seed/2%2) // of the offsets
	if seed%3 == 0 {
		properties["leader.imbalance.check.interval.seconds"] = "4"
		properties["leader.imbalance.per.broker.percentage"] = "0"
	}
	configs := map[string]string{"min.insync.replicas": "2"}
	if durable {
		configs["flush.messages"] = "1"
		properties["log.flush.interval.messages"] = "1"
	}
	if seed%5 < 2 {
		configs["segment.bytes"] = "4000"
		properties["offsets.topic.segment.bytes"] = "4000"
	}

	s := newSimulation(t, 3, seed, logger, properties)
	up := s.within(startLimit, "all brokers run", func() bool { return s.broker(1) && s.broker(2) && s.broker(3) })
	creator := wire{process: s.clients}
	if err := createSimTopic(&creator, simTopic, 3, configs); up && err != nil {
		s.seen.bad("create the topic: %v", err)
	}
	creator.close()
	var lanes []*lane
	var taps []*tap
	produced, stop := make(chan struct{}), make(chan struct{})
	for p := range int32(simPartitions) {
		for i := range uint32(2) {
			l := newLane(s, 2*uint32(p)+i, p)
			lanes = append(lanes, l)
			s.running.Go(func() { l.run(produced) })
		}
		c := newTap(s, p)
		taps = append(taps, c)
		s.running.Go(func() { c.run(stop) })
		s.running.Go(func() { s.observe(p+1, stop) })
	}

	silence := s.startGroups(stop)

	rnd := s.random(1)
	faults := simFaults
	if durable {
		faults = append(faults[:len(faults):len(faults)], powerLosses...)
	}
	ok := s.settled() && s.deleteOffsets()
	for round := 0; ok && round < 2; round++ {
		s.play(s.schedule(rnd, faults, 12*time.Second))
		ok = s.settled() && s.stable() && s.checkDeleted()
		if ok && !durable {
			ok = s.losePower(s.brokers[rnd.IntN(3)])
		}
	}
	close(produced)
	ok = ok && s.stable()
	silence()
	for _, g := range s.groups {
		ok = ok && g.checkFinal()
	}
	ok = ok && s.within(30*time.Second, "everything is acknowledged", func() bool {
		for _, l := range lanes {
			if l.rest() != "" {
				return false
			}
		}
		return true
	})
	ok = ok && s.within(30*time.Second, "all is read", func() bool {
		_, latest := s.seen.known()
		for p, c := range taps {
			if end := latest[p]; c.read.Load() < end || end < endOf(lanes, int32(p)) {
				return false
			}
		}
		return true
	})
	// Followers may be behind what consumers read only while they are not in sync.
	ok = ok && s.within(time.Minute, "all replicas in sync", func() bool { return s.everywhere(inSync) })
	close(s.abandoned)
	close(stop)
	s.close()
	if ok {
		s.compare(lanes, taps)
		s.compareOffsets()
	} else {
		for _, g := range s.groups {
			g.noteMembers()
		}
		for _, l := range lanes {
			if rest := l.rest(); rest != "" {
				t.Log(rest)
				s.noteRecords(l)
			}
		}
	}
	s.report(lanes)
}

func (s *simulation) broker(id int32) bool { return s.brokers[id-1].broker() != nil }

// losePower takes the power of a broker while all else is well: without
// flush.messages=1 acknowledged records outlive that only if the others have gone on
// without it before it is back, and it has caught up before the next does.
func (s *simulation) losePower(b *simBroker) bool {
	// What was held up by the last faults may still take somebody out of the ISR.
	time.Sleep(2 * time.Second)
	if !s.settled() {
		return false
	}
	b.powerOff(s.random(100))
	s.note("%s loses its power, alone", b.name())
	ok := s.within(simSessionTimeout+3*time.Second, "leaders elsewhere", func() bool {
		return s.others(b, func(p *cluster.Partition) bool { return p.Leader > 0 && p.Leader != b.id && len(p.ISR) == 2 })
	})
	b.start()
	return s.settled() && ok
}

// endOf is where a partition must at least end.
func endOf(lanes []*lane, partition int32) (end int64) {
	for _, l := range lanes {
		l.mu.Lock()
		if l.partition == partition && l.acked > 0 {
			last := l.sent[l.acked-1]
			end = max(end, last.offset+int64(last.count))
		}
		l.mu.Unlock()
	}
	return end
}

func (s *simulation) report(lanes []*lane) {
	batches, commits, generations := 0, 0, 0
	for _, l := range lanes {
		batches += l.acknowledged()
	}
	for _, g := range s.groups {
		commits, generations = commits+g.acknowledgedCommits(), generations+len(g.generations)
	}
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	s.t.Logf("%v, %d batches acknowledged, %d ends answered, %d reigns, %d offsets committed in %d generations",
		time.Since(s.began).Round(time.Second), batches, s.seen.answers, len(s.seen.leaders), commits, generations)
	for _, wrong := range s.seen.wrong {
		s.t.Error(wrong)
	}
	if len(s.seen.wrong) > 0 {
		s.t.Logf("seed %d:\n  %s", s.seed, s.story())
	}
}
