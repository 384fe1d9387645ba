package peer

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// version says how a request goes between brokers. Kafka fixes most versions by
// the inter-broker protocol, without asking the receiver; these are the ones of
// inter.broker.protocol.version 3.9-IV0.
type version struct {
	max       int16
	min       int16 // of use only when negotiated
	negotiate bool  // ask ApiVersions once per connection
}

// versionOf returns false for requests that brokers do not send each other.
func versionOf(key int16) (version, bool) {
	switch kmsg.Key(key) {
	case kmsg.Fetch:
		return version{max: 17}, true
	case kmsg.ListOffsets:
		return version{max: 9}, true
	case kmsg.LeaderAndISR:
		return version{max: 7}, true
	case kmsg.StopReplica:
		return version{max: 4}, true
	case kmsg.UpdateMetadata:
		return version{max: 8}, true
	case kmsg.ControlledShutdown:
		return version{max: 3}, true
	case kmsg.OffsetForLeaderEpoch:
		return version{max: 4}, true
	case kmsg.AddPartitionsToTxn:
		return version{min: 4, max: 5, negotiate: true}, true
	case kmsg.WriteTxnMarkers:
		return version{max: 1}, true
	case kmsg.AlterPartition:
		return version{min: 0, max: 3, negotiate: true}, true
	case kmsg.AllocateProducerIDs:
		return version{min: 0, max: 0, negotiate: true}, true
	}
	return version{}, false
}

// versionRange is what a broker accepts of one request.
type versionRange struct{ min, max int16 }

// choose sets the request's version. A version above zero that the caller has
// set lowers the highest one used: Fetch and AlterPartition need that for topics
// without id. offered is nil for requests that are not negotiated.
func choose(req kmsg.Request, v version, offered map[int16]versionRange) error {
	highest, lowest := v.max, v.max
	if wish := req.GetVersion(); wish > 0 && wish < highest {
		highest, lowest = wish, wish
	}
	if v.negotiate {
		r, ok := offered[req.Key()]
		if !ok {
			return fmt.Errorf("%s: %w: the broker does not offer it", kmsg.NameForKey(req.Key()), ErrUnsupportedVersion)
		}
		lowest = max(v.min, r.min)
		highest = min(highest, r.max)
	}
	if highest < lowest {
		return fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), ErrUnsupportedVersion)
	}
	req.SetVersion(highest)
	return nil
}
