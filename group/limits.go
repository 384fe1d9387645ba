package group

import (
	"math"
	"time"
)

// maxString is the longest string, in bytes, that a record of __consumer_offsets can
// hold.
const maxString = math.MaxInt16

// Limits are the settings of groups.
type Limits struct {
	MinSessionTimeout      time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout      time.Duration // group.max.session.timeout.ms
	InitialRebalanceDelay  time.Duration // group.initial.rebalance.delay.ms
	MaxSize                int           // group.max.size
	OffsetMetadataMaxBytes int           // offset.metadata.max.bytes, which counts UTF-16 units
	OffsetsRetention       time.Duration // offsets.retention.minutes
}
