package controller

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// crashCase is something that a controller does in several writes.
type crashCase struct {
	name string
	// run sets it off, and does again what brokers and tools do again until it is
	// answered.
	run func(l *lab)
	// check says what must hold when all has settled.
	check func(l *lab, states map[string]zkmeta.PartitionEntry) error
}

var crashCases = []crashCase{
	{
		name: "creation",
		run:  func(l *lab) { l.must(l.createTopic("new", [][]int32{{2, 1}, {3, 2}}, nil)) },
		check: func(_ *lab, states map[string]zkmeta.PartitionEntry) error {
			for _, name := range []string{"new-0", "new-1"} {
				if s := states[name].State; len(s.ISR) != 2 || s.Leader != s.ISR[0] || s.LeaderEpoch != 0 {
					return fmt.Errorf("%s: %s", name, describeState(s))
				}
			}
			return nil
		},
	},
	{
		name: "election after a broker's death",
		run:  func(l *lab) { l.brokerDown(2) },
		check: func(l *lab, states map[string]zkmeta.PartitionEntry) error {
			return without(states, 2)
		},
	},
	{
		name: "election after a broker's restart",
		run:  func(l *lab) { l.bounce(2) },
		check: func(_ *lab, states map[string]zkmeta.PartitionEntry) error {
			return nil // that all are led, and told, is checked for every case
		},
	},
	{
		name: "ISR change",
		run: func(l *lab) {
			changes := []ISRChange{
				{Topic: "t", Partition: 1, ISR: []int32{2, 3}},
				{Topic: "t", Partition: 3, ISR: []int32{2}},
			}
			results := again(l, func() ([]ISRResult, error) {
				return l.controller.AlterPartition(l.ctx, 2, l.fakes.epochOf(2), changes)
			})
			for _, r := range results {
				if r.Err != nil {
					l.t.Errorf("ISR change: %v", r.Err)
				}
			}
		},
		check: func(_ *lab, states map[string]zkmeta.PartitionEntry) error {
			for name, want := range map[string][]int32{"t-1": {2, 3}, "t-3": {2}} {
				if e := states[name]; !slices.Equal(e.State.ISR, want) || e.State.LeaderEpoch != 0 || e.ZkVersion != 1 {
					return fmt.Errorf("%s: %s zv=%d", name, describeState(e.State), e.ZkVersion)
				}
			}
			return nil
		},
	},
	{
		name: "deletion",
		run:  func(l *lab) { l.must(l.admin.RequestTopicDeletion(l.ctx, "t")) },
		check: func(_ *lab, states map[string]zkmeta.PartitionEntry) error {
			for name := range states {
				if !strings.HasPrefix(name, "moved-") {
					return fmt.Errorf("%s is still there", name)
				}
			}
			return nil
		},
	},
	{
		name: "controlled shutdown",
		run: func(l *lab) {
			led := again(l, func() ([]protocol.TopicPartition, error) {
				return l.controller.ControlledShutdown(l.ctx, 2, l.fakes.epochOf(2))
			})
			if len(led) > 0 {
				l.t.Errorf("the broker still leads %v", led)
			}
			l.brokerDown(2)
		},
		check: func(_ *lab, states map[string]zkmeta.PartitionEntry) error { return without(states, 2) },
	},
	{
		name: "preferred election",
		run: func(l *lab) {
			tps := []protocol.TopicPartition{{Topic: "moved", Partition: 0}, {Topic: "moved", Partition: 1}}
			again(l, func() ([]ElectionResult, error) { return l.controller.ElectLeaders(l.ctx, false, tps) })
		},
		check: func(_ *lab, states map[string]zkmeta.PartitionEntry) error {
			for _, name := range []string{"moved-0", "moved-1"} {
				if s := states[name].State; s.Leader != 3 {
					return fmt.Errorf("%s: %s", name, describeState(s))
				}
			}
			return nil
		},
	},
	{
		name: "fail-over with everything to do",
		run: func(l *lab) {
			l.cut(true)
			l.endSelf()
			l.brokerDown(2)
			l.must(l.createTopic("new", [][]int32{{2, 1}, {3, 2}}, nil))
			l.must(l.admin.RequestTopicDeletion(l.ctx, "moved"))
			l.cut(false)
		},
		check: func(_ *lab, states map[string]zkmeta.PartitionEntry) error {
			if len(states) != 6 {
				return fmt.Errorf("there are the partitions %v", states)
			}
			return without(states, 2)
		},
	},
}

// again asks a controller until one has answered.
func again[A any](l *lab, ask func() (A, error)) A {
	for {
		answer, err := ask()
		if err == nil {
			return answer
		}
		if !errors.Is(err, kerr.NotController) && !errors.Is(err, kerr.StaleBrokerEpoch) {
			l.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// without says whether a broker leads nothing and is in no ISR.
func without(states map[string]zkmeta.PartitionEntry, id int32) error {
	for name, e := range states {
		if e.State.Leader == id || slices.Contains(e.State.ISR, id) {
			return fmt.Errorf("%s: %s", name, describeState(e.State))
		}
	}
	return nil
}

// TestCrashPoints loses the controller at every single write of each of its tasks,
// before the write and after it, and has another finish the work. So it does with the
// connection alone: the reply is lost, and the controller goes on in the same session.
func TestCrashPoints(t *testing.T) {
	every := race.Every(t)
	for _, c := range crashCases {
		for _, way := range []struct {
			name              string
			delivered, expire bool
		}{
			{"lost before the write", false, true},
			{"lost after the write", true, true},
			{"write lost", false, false},
			{"reply lost", true, false},
		} {
			t.Run(c.name+"/"+way.name, func(t *testing.T) {
				write := 1
				for struck := true; struck; write += every {
					synctest.Test(t, func(t *testing.T) {
						struck = crashAt(t, c, write, way.delivered, way.expire)
					})
					if t.Failed() {
						t.Fatalf("at write %d", write)
					}
				}
				if write -= every; write < 3 {
					t.Errorf("there are %d writes only", write-1)
				}
				t.Logf("%d writes, of which it strikes at one of %d", write-1, every)
			})
		}
	}
}

// crashAt has a fault strike at the nth write of a task, and reports whether there were
// that many.
func crashAt(t *testing.T, c crashCase, n int, delivered, expire bool) (struck bool) {
	l := newLab(t, map[string]string{"auto.leader.rebalance.enable": "false"})
	defer l.close()
	l.startController()
	for id := int32(2); id <= 3; id++ {
		l.brokerUp(id)
	}
	l.must(l.createTopic("moved", [][]int32{{3, 1}, {3, 1}}, nil))
	synctest.Wait()
	l.move("moved", 2)
	l.must(l.createTopic("t", [][]int32{{1, 2, 3}, {2, 1, 3}, {3, 2}, {2, 3}}, nil))
	synctest.Wait()

	f := &fault{left: n, delivered: delivered}
	f.then = func() {
		if expire {
			l.endSelf()
		}
		l.cut(true)
		l.cut(false)
	}
	l.setFault(f)
	c.run(l)
	time.Sleep(30 * time.Second)
	synctest.Wait()
	l.setFault(nil)
	states := l.checkSettled(func(format string, args ...any) { t.Errorf(format, args...) })
	if err := c.check(l, states); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.struck
}

// move has replica 1 lead the partitions of a topic that 3 should lead, with both in
// sync.
func (l *lab) move(topic string, partitions int32) {
	l.t.Helper()
	l.brokerDown(3)
	synctest.Wait()
	l.brokerUp(3)
	synctest.Wait()
	for p := range partitions {
		tp := protocol.TopicPartition{Topic: topic, Partition: p}
		known, err := l.admin.PartitionStates(l.ctx, []protocol.TopicPartition{tp})
		l.must(err)
		results, err := l.controller.AlterPartition(l.ctx, 1, l.fakes.epochOf(1), []ISRChange{{
			Topic: topic, Partition: p, ISR: []int32{1, 3}, LeaderEpoch: known[0].State.LeaderEpoch, PartitionEpoch: known[0].ZkVersion,
		}})
		l.must(err)
		l.must(results[0].Err)
	}
}
