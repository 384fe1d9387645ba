package cluster

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// coordinatedWorld is a world whose clients need coordinators.
type coordinatedWorld struct {
	world
	client  *kgo.Client
	watches []*watch // of topics of clients and of coordinators
}

// What coordinators are looked for by.
const (
	groupKey       = 0
	transactionKey = 1
)

// coordinatorOf is the id of who coordinates a group or a transactional id, 0 if nobody
// is known.
func (w *coordinatedWorld) coordinatorOf(kind int8, key string) int {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKeys = kind, []string{key}
	bounded, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	resp, err := w.client.SeedBrokers()[w.random.IntN(3)].Request(bounded, req)
	if err != nil {
		return 0
	}
	return max(int(resp.(*kmsg.FindCoordinatorResponse).Coordinators[0].NodeID), 0)
}

// coordinator is the broker that coordinates, or any if none is known to.
func (w *coordinatedWorld) coordinator(kind int8, key string) *harness.Member {
	if id := w.coordinatorOf(kind, key); id > 0 {
		return w.cluster.Member(id)
	}
	return w.any()
}

// kinds are the kinds of so many faults: a death and a long absence first, in either
// order, and then any, "".
func (w *coordinatedWorld) kinds(n int) []string {
	kinds := []string{"is killed", "is paused"}
	w.random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	return append(kinds, make([]string, max(n-len(kinds), 0))...)[:n]
}

// led says whether all that is watched has leaders, none of them the victim.
func (w *coordinatedWorld) led(victim int) bool {
	for _, watch := range w.watches {
		if !watch.allLed(victim) {
			return false
		}
	}
	return true
}

func (w *coordinatedWorld) allInSync() bool {
	for _, watch := range w.watches {
		if !watch.allInSync() {
			return false
		}
	}
	return true
}
