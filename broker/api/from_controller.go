package api

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

// fromController is what the requests that controllers send have in common:
// LeaderAndIsr, UpdateMetadata and StopReplica. They are handled one at a time,
// and those of a controller that has been replaced, or that knows an earlier
// registration of this broker, are refused.
type fromController struct {
	brokerEpoch func() int64

	mu    sync.Mutex // held while a request is handled
	epoch int32      // highest controller epoch seen
}

// admit checks a request's epochs; mu is held. A broker epoch of −1 is not
// checked; one above ours is of a registration that we are about to learn of.
func (f *fromController) admit(controllerEpoch int32, brokerEpoch int64) error {
	if current := f.brokerEpoch(); brokerEpoch != -1 && brokerEpoch < current {
		return fmt.Errorf("request for broker epoch %d, it is %d: %w", brokerEpoch, current, kerr.StaleBrokerEpoch)
	}
	if controllerEpoch < f.epoch {
		return fmt.Errorf("request of controller epoch %d, the newest seen is %d: %w", controllerEpoch, f.epoch, kerr.StaleControllerEpoch)
	}
	f.epoch = controllerEpoch
	return nil
}
