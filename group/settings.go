package group

import (
	"cmp"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Limits are the settings of groups.
type Limits struct {
	MinSessionTimeout      time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout      time.Duration // group.max.session.timeout.ms
	InitialRebalanceDelay  time.Duration // group.initial.rebalance.delay.ms
	MaxSize                int           // group.max.size
	OffsetMetadataMaxBytes int           // offset.metadata.max.bytes, which counts UTF-16 units
	OffsetsRetention       time.Duration // offsets.retention.minutes
}

// Settings are those of the coordinator. None changes while the broker runs.
type Settings struct {
	Limits
	RetentionCheckInterval time.Duration // offsets.retention.check.interval.ms
	CommitTimeout          time.Duration // offsets.commit.timeout.ms
	RequiredAcks           int16         // offsets.commit.required.acks
	LoadBufferBytes        int32         // offsets.load.buffer.size
	Codec                  record.Codec  // offsets.topic.compression.codec
	MemoryBytes            int64         // what all groups may take in memory
}

// SettingsOf returns the settings of a broker's coordinator, for which memoryBytes is at
// hand unless gracchus.group.memory.bytes says something else.
func SettingsOf(cfg *config.Broker, memoryBytes int64) Settings {
	return Settings{
		Limits: Limits{
			MinSessionTimeout:      cfg.Groups.MinSessionTimeout,
			MaxSessionTimeout:      cfg.Groups.MaxSessionTimeout,
			InitialRebalanceDelay:  cfg.Groups.InitialRebalanceDelay,
			MaxSize:                int(cfg.Groups.MaxSize),
			OffsetMetadataMaxBytes: int(cfg.Offsets.MetadataMaxBytes),
			OffsetsRetention:       cfg.Offsets.Retention,
		},
		RetentionCheckInterval: cfg.Offsets.RetentionCheck,
		CommitTimeout:          cfg.Offsets.CommitTimeout,
		RequiredAcks:           cfg.Offsets.RequiredAcks,
		LoadBufferBytes:        cfg.Offsets.LoadBufferBytes,
		Codec:                  record.Codec(cfg.Offsets.Codec),
		MemoryBytes:            cmp.Or(cfg.Groups.MemoryBytes, memoryBytes),
	}
}
