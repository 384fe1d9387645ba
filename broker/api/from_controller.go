package api

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/broker/server"
)

// fromController is what the requests that controllers send have in common:
// LeaderAndIsr, UpdateMetadata and StopReplica. They are handled one at a time and in
// the order in which they were sent, and those that were meant for an earlier
// registration of this broker are refused. Package replica refuses those of controllers
// that have been replaced.
//
// A controller has one connection to each broker at a time. What comes by an earlier one
// than others was on its way when that broke, and has been said again since, or is true
// no more: a list of live brokers has nothing else that tells its age.
type fromController struct {
	brokerEpoch func() int64

	mu     sync.Mutex // held while a request is handled
	epoch  int32      // the newest controller's
	client string     // who has spoken for it
	newest uint64     // connection that they have used
}

// settle waits until the request that is being handled, if there is one, has had all its
// effects: the view shows some of them before the coordinators know.
func (f *fromController) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
}

// admit checks where a request comes from and its broker epoch. −1 is not checked; one
// above ours is of a registration that we are about to learn of. mu must be held.
func (f *fromController) admit(r *server.Request, controllerEpoch int32, brokerEpoch int64) error {
	if current := f.brokerEpoch(); brokerEpoch != -1 && brokerEpoch < current {
		return fmt.Errorf("request for broker epoch %d, it is %d: %w", brokerEpoch, current, kerr.StaleBrokerEpoch)
	}
	client, connection := r.Header.ClientID, r.Connection()
	switch {
	case controllerEpoch < f.epoch: // refused for that
		return nil
	case controllerEpoch == f.epoch && client == f.client && connection < f.newest:
		return fmt.Errorf("request of controller epoch %d came late, by a connection that the controller has replaced: %w", controllerEpoch, kerr.StaleControllerEpoch)
	}
	f.epoch, f.client, f.newest = controllerEpoch, client, connection
	return nil
}
