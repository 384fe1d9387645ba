package api

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

// fromController is what the requests that controllers send have in common:
// LeaderAndIsr, UpdateMetadata and StopReplica. They are handled one at a time,
// and those that were meant for an earlier registration of this broker are
// refused. Package replica refuses those of controllers that have been replaced.
type fromController struct {
	brokerEpoch func() int64

	mu sync.Mutex // held while a request is handled
}

// admit checks the broker epoch of a request. −1 is not checked; one above ours
// is of a registration that we are about to learn of.
func (f *fromController) admit(brokerEpoch int64) error {
	if current := f.brokerEpoch(); brokerEpoch != -1 && brokerEpoch < current {
		return fmt.Errorf("request for broker epoch %d, it is %d: %w", brokerEpoch, current, kerr.StaleBrokerEpoch)
	}
	return nil
}
