package group

import (
	"context"
	"sync"
	"time"
)

// confirmTimeout is how long other brokers may take to confirm: they need not write
// anything. A client that asks one which was replaced shall soon look for the other.
const confirmTimeout = 500 * time.Millisecond

// Confirm makes sure that this broker coordinates groups: what [Coordinator.FetchOffsets]
// tells of them afterwards is not older than what any other coordinator has acknowledged
// before Confirm was called. A coordinator that was replaced need not know it; whoever
// begins where its offsets say would process again what is committed, with transactions
// too. Kafka does not make sure.
//
// It returns those that it is not sure of, and why: kerr.NotCoordinator. It may ask other
// brokers, and waits half a second for them. Groups that this broker knows to have another
// coordinator are left out.
func (c *Coordinator) Confirm(ctx context.Context, groups ...string) (unsure map[string]error) {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	of := map[*partition][]string{}
	for _, group := range groups {
		if p, err := c.led.Find(group); err == nil {
			of[p] = append(of[p], group)
		}
	}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for p, groups := range of {
		asking.Go(func() {
			err := c.log.ConfirmLeader(ctx, p.number, p.epoch)
			if err == nil {
				return
			}
			c.logger.Debug("not sure to coordinate the groups of a partition", "partition", p.number, "epoch", p.epoch, "err", err)
			mu.Lock()
			defer mu.Unlock()
			if unsure == nil {
				unsure = map[string]error{}
			}
			for _, group := range groups {
				unsure[group] = errNotCoordinator
			}
		})
	}
	asking.Wait()
	return unsure
}
