package controller

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
	switch n := h.rnd.IntN(20); {
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
	default:
		what = "long wait"
		time.Sleep(time.Duration(h.rnd.IntN(9000)) * time.Millisecond)
	}
	h.log = append(h.log, what)
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
	t := h.t
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf(format+"\nhistory:\n  %s", append(args, strings.Join(h.log, "\n  "))...)
	}
	if _, active := h.controller.Active(); !active {
		fail("the controller is not active")
	}
	if left, err := h.admin.DeleteTopicRequests(h.ctx, nil); err != nil || len(left) > 0 {
		fail("deletions left: %v, error %v", left, err)
	}
	names, err := h.admin.Topics(h.ctx, nil)
	h.must(err)
	topics, err := h.admin.TopicAssignments(h.ctx, names, nil)
	h.must(err)
	states := map[string]string{}
	roles := map[int32]map[string]string{1: {}, 2: {}, 3: {}, 4: {}}
	for _, topic := range topics {
		var tps []protocol.TopicPartition
		for number := range topic.Partitions {
			tps = append(tps, protocol.TopicPartition{Topic: topic.Name, Partition: number})
		}
		entries, err := h.admin.PartitionStates(h.ctx, tps)
		h.must(err)
		for _, e := range entries {
			if e.Err != nil {
				fail("%v has no state: %v", e.TopicPartition, e.Err)
				continue
			}
			replicas := topic.Partitions[e.Partition].Replicas
			if e.State.Leader < 0 || !slices.Contains(e.State.ISR, e.State.Leader) {
				fail("%v is led by %d, in sync are %v", e.TopicPartition, e.State.Leader, e.State.ISR)
			}
			for _, id := range e.State.ISR {
				if !slices.Contains(replicas, id) {
					fail("%v: %d is in sync, but not a replica", e.TopicPartition, id)
				}
			}
			text := fmt.Sprintf("leader=%d epoch=%d isr=%s zv=%d", e.State.Leader, e.State.LeaderEpoch, joinIDs(e.State.ISR), e.ZkVersion)
			states[e.TopicPartition.String()] = text
			for _, id := range replicas {
				roles[id][e.TopicPartition.String()] = text
			}
		}
	}
	h.fakes.mu.Lock()
	defer h.fakes.mu.Unlock()
	if epoch, _ := h.controller.Active(); epoch > 1 {
		// A broker that could not be told of a deletion before the controller's term ended
		// is never told, as with Kafka's controller: the next one knows nothing of the
		// topic.
		for _, k := range h.fakes.knows {
			maps.DeleteFunc(k.states, func(name, _ string) bool { return !slices.Contains(names, name[:strings.LastIndex(name, "-")]) })
		}
	}
	for id := int32(1); id <= 4; id++ {
		k := h.fakes.knows[id]
		if got, want := describeMap(k.states), describeMap(states); got != want {
			fail("broker %d knows the states\n%s\nwant\n%s", id, got, want)
		}
		if got, want := describeMap(k.roles), describeMap(roles[id]); got != want {
			fail("broker %d has the roles\n%s\nwant\n%s", id, got, want)
		}
	}
}

func describeMap(m map[string]string) string {
	var lines []string
	for name, text := range m {
		lines = append(lines, name+" "+text)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
