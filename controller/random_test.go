package controller

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/twmb/franz-go/pkg/kerr"
)

// TestRandomHistories lets everything happen in random order, then heals the cluster
// and holds that all brokers know what ZooKeeper says, that every partition which can
// be led is led, and that every deletion has come to its end. A failing seed replays.
func TestRandomHistories(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	seeds /= race.Every(t)
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &history{lab: newLab(t, nil), rnd: rand.New(rand.NewPCG(seed, 1)), topics: map[string]bool{}}
				defer h.close()
				h.startController()
				for range 80 {
					h.step()
					switch h.rnd.IntN(3) {
					case 0:
						synctest.Wait()
					case 1:
						time.Sleep(time.Duration(h.rnd.IntN(300)) * time.Millisecond)
					}
				}
				h.heal()
				h.check()
			})
		})
	}
}

type history struct {
	*lab
	rnd    *rand.Rand
	topics map[string]bool
	log    []string
}

func (h *history) step() {
	id := int32(2 + h.rnd.IntN(3))
	_, up := h.others[id]
	what := ""
	switch n := h.rnd.IntN(25); {
	case n < 4 && !up:
		what = fmt.Sprint("up ", id)
		h.brokerUp(id)
	case n < 2 && up:
		what = fmt.Sprint("down ", id)
		h.brokerDown(id)
	case n < 4 && up:
		what = fmt.Sprint("bounce ", id)
		h.bounce(id)
	case n < 9:
		name := fmt.Sprint("t", h.rnd.IntN(6))
		assignment := make([][]int32, 1+h.rnd.IntN(3))
		for i := range assignment {
			assignment[i] = h.replicas(1 + h.rnd.IntN(3))
		}
		what = fmt.Sprint("create ", name, " ", assignment)
		if err := h.createTopic(name, assignment, nil); err != nil && !errors.Is(err, session.ErrNodeExists) {
			h.t.Fatal(err)
		}
	case n < 12:
		name := fmt.Sprint("t", h.rnd.IntN(6))
		what = "delete " + name
		if err := h.admin.RequestTopicDeletion(h.ctx, name); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			h.t.Fatal(err)
		}
	case n < 14:
		name := fmt.Sprint("t", h.rnd.IntN(6))
		what = "expand " + name
		err := h.admin.UpdateTopic(h.ctx, name, func(a *zkmeta.TopicAssignment) error {
			a.Partitions[int32(len(a.Partitions))] = zkmeta.ReplicaAssignment{Replicas: h.replicas(len(a.Partitions[0].Replicas))}
			return nil
		})
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			h.t.Fatal(err)
		}
	case n < 17:
		h.fakes.mu.Lock()
		h.fakes.unreachable[id] = !h.fakes.unreachable[id]
		what = fmt.Sprint("unreachable ", id, " ", h.fakes.unreachable[id])
		h.fakes.mu.Unlock()
	case n < 18:
		what = "expire"
		if h.self.SessionID() != 0 {
			h.endSelf()
		}
	case n < 19:
		h.mu.Lock()
		off := !h.cutOff
		h.mu.Unlock()
		what = fmt.Sprint("cut ", off)
		h.cut(off)
	case n < 22:
		what = h.alterPartition()
	case n < 23:
		what = h.electLeaders()
	case n < 24 && up:
		what = fmt.Sprint("shutdown ", id)
		ctx, cancel := context.WithTimeout(h.ctx, time.Second)
		h.controller.ControlledShutdown(ctx, id, h.fakes.epochOf(id))
		cancel()
		h.brokerDown(id)
	default:
		what = "long wait"
		time.Sleep(time.Duration(h.rnd.IntN(9000)) * time.Millisecond)
	}
	h.log = append(h.log, what)
}

// alterPartition has the leader of some partition ask for some ISR. What comes of it
// depends on what else is going on.
func (h *history) alterPartition() string {
	p, replicas := h.somePartition()
	if p == nil || p.State.Leader < 0 {
		return "no ISR to change"
	}
	isr := []int32{p.State.Leader}
	for _, id := range replicas {
		if id != p.State.Leader && h.rnd.IntN(2) == 0 {
			isr = append(isr, id)
		}
	}
	ctx, cancel := context.WithTimeout(h.ctx, time.Second)
	defer cancel()
	results, err := h.controller.AlterPartition(ctx, p.State.Leader, h.fakes.epochOf(p.State.Leader), []ISRChange{{
		Topic: p.Topic, Partition: p.Partition, ISR: isr, LeaderEpoch: p.State.LeaderEpoch, PartitionEpoch: p.ZkVersion,
	}})
	return fmt.Sprintf("ISR of %v: %v: %v %v", p.TopicPartition, isr, results, err)
}

func (h *history) electLeaders() string {
	p, _ := h.somePartition()
	if p == nil {
		return "nothing to elect"
	}
	unclean := h.rnd.IntN(2) == 0
	ctx, cancel := context.WithTimeout(h.ctx, time.Second)
	defer cancel()
	results, err := h.controller.ElectLeaders(ctx, unclean, []protocol.TopicPartition{p.TopicPartition})
	return fmt.Sprintf("elect %v, unclean %v: %v %v", p.TopicPartition, unclean, results, err)
}

// somePartition is one that has a state, as ZooKeeper holds it, or nil.
func (h *history) somePartition() (*zkmeta.PartitionEntry, []int32) {
	name := fmt.Sprint("t", h.rnd.IntN(6))
	found, err := h.admin.TopicAssignments(h.ctx, []string{name}, nil)
	h.must(err)
	if found[0].Err != nil {
		return nil, nil
	}
	tp := protocol.TopicPartition{Topic: name, Partition: int32(h.rnd.IntN(len(found[0].Partitions)))}
	states, err := h.admin.PartitionStates(h.ctx, []protocol.TopicPartition{tp})
	h.must(err)
	if states[0].Err != nil {
		return nil, nil
	}
	return &states[0], found[0].Partitions[tp.Partition].Replicas
}

func (h *history) replicas(n int) []int32 {
	ids := []int32{1, 2, 3, 4}
	h.rnd.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:n]
}

// heal brings everything back and waits until it has settled.
func (h *history) heal() {
	h.cut(false)
	for id := int32(2); id <= 4; id++ {
		h.fakes.mu.Lock()
		h.fakes.unreachable[id] = false
		h.fakes.mu.Unlock()
		if h.others[id] == nil {
			h.brokerUp(id)
		}
	}
	time.Sleep(30 * time.Second)
	synctest.Wait()
}

func (h *history) check() {
	h.checkSettled(func(format string, args ...any) {
		h.t.Helper()
		h.t.Errorf(format+"\nhistory:\n  %s", append(args, strings.Join(h.log, "\n  "))...)
	})
}
