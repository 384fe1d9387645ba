package config

import "strconv"

// topicProperties are what a topic can have values of its own for, in the order
// in which Kafka checks them. broker names the property that gives the default.
var topicProperties = []property{
	{name: "segment.bytes", kind: kindInt, valid: atLeast(14), broker: "log.segment.bytes",
		doc: "The size at which a segment file is finished and the next begun."},
	{name: "segment.ms", kind: kindLong, valid: atLeast(1), broker: "log.roll.ms", derive: rollMS,
		doc: "The age at which a segment is finished at the next append."},
	{name: "segment.jitter.ms", kind: kindLong, valid: atLeast(0), broker: "log.roll.jitter.ms", derive: rollJitterMS,
		doc: "At most this much is taken off that age, at random, so that logs do not roll together."},
	{name: "segment.index.bytes", kind: kindInt, valid: atLeast(4), broker: "log.index.size.max.bytes",
		doc: "The size of an offset index while its segment is written to."},
	{name: "flush.messages", kind: kindLong, valid: atLeast(1), broker: "log.flush.interval.messages",
		doc: "After so many records the log is synced to disk; 1: before each acknowledgement."},
	{name: "flush.ms", kind: kindLong, valid: atLeast(0), broker: "log.flush.interval.ms", derive: flushMS,
		doc: "The longest time until a record is synced to disk."},
	{name: "retention.bytes", kind: kindLong, broker: "log.retention.bytes",
		doc: "How large a partition may grow before its oldest segments go; -1: no limit."},
	{name: "retention.ms", kind: kindLong, valid: atLeast(-1), broker: "log.retention.ms", derive: retentionMS,
		doc: "How long records are kept; -1: for ever."},
	{name: "max.message.bytes", kind: kindInt, valid: atLeast(0), broker: "message.max.bytes",
		doc: "The largest record batch that is accepted, after compression."},
	{name: "index.interval.bytes", kind: kindInt, valid: atLeast(0), broker: "log.index.interval.bytes",
		doc: "How many bytes of log lie between two index entries."},
	{name: "delete.retention.ms", kind: kindLong, valid: atLeast(0), broker: "log.cleaner.delete.retention.ms",
		doc: "How long a key's deletion stays readable in a compacted log."},
	{name: "min.compaction.lag.ms", kind: kindLong, valid: atLeast(0), broker: "log.cleaner.min.compaction.lag.ms",
		doc: "The youngest age at which a record may be compacted."},
	{name: "max.compaction.lag.ms", kind: kindLong, valid: atLeast(1), broker: "log.cleaner.max.compaction.lag.ms",
		doc: "The age by which a record must be compacted."},
	{name: "file.delete.delay.ms", kind: kindLong, valid: atLeast(0), broker: "log.segment.delete.delay.ms",
		doc: "How long a deleted file stays under another name before it goes."},
	{name: "min.cleanable.dirty.ratio", kind: kindDouble, valid: between(0, 1), broker: "log.cleaner.min.cleanable.ratio",
		doc: "How much of a log must be uncompacted before it is worth compacting."},
	{name: "cleanup.policy", kind: kindList, valid: listOf{"compact", "delete"}, broker: "log.cleanup.policy",
		doc: "What happens to old records: delete, compact, or both."},
	{name: "unclean.leader.election.enable", kind: kindBool, broker: "unclean.leader.election.enable",
		doc: "Whether a replica that lacks acknowledged records may lead when no other can."},
	{name: "min.insync.replicas", kind: kindInt, valid: atLeast(1), broker: "min.insync.replicas",
		doc: "How many replicas must have a record before acks=all is answered."},
	{name: "compression.type", kind: kindString, valid: oneOf{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}, broker: "compression.type",
		doc: "The codec records are stored with; producer keeps what came, uncompressed takes it off."},
	{name: "compression.gzip.level", kind: kindInt, valid: gzipLevel{}, broker: "compression.gzip.level",
		doc: "The level of gzip, where the broker compresses."},
	{name: "compression.lz4.level", kind: kindInt, valid: between(1, 17), broker: "compression.lz4.level",
		doc: "The level of lz4, where the broker compresses."},
	{name: "compression.zstd.level", kind: kindInt, valid: between(-131072, 22), broker: "compression.zstd.level",
		doc: "The level of zstd, where the broker compresses."},
	{name: "preallocate", kind: kindBool, broker: "log.preallocate",
		doc: "Whether a segment's file gets its full size at once."},
	{name: "message.format.version", kind: kindString, valid: release{}, broker: "log.message.format.version", derive: func(values) string { return "3.0-IV1" },
		doc: "Deprecated: Kafka 3 always writes the current format, and so does this broker."},
	{name: "message.timestamp.type", kind: kindString, valid: oneOf{"CreateTime", "LogAppendTime"}, broker: "log.message.timestamp.type",
		doc: "Whether a record carries its producer's time or the time of its append."},
	{name: "message.timestamp.difference.max.ms", kind: kindLong, valid: atLeast(0), broker: "log.message.timestamp.difference.max.ms",
		doc: "Deprecated: both bounds below in one."},
	{name: "message.timestamp.before.max.ms", kind: kindLong, valid: atLeast(0), broker: "log.message.timestamp.before.max.ms", derive: timestampBound("log.message.timestamp.before.max.ms"),
		doc: "How far in the past a producer's time may lie."},
	{name: "message.timestamp.after.max.ms", kind: kindLong, valid: atLeast(0), broker: "log.message.timestamp.after.max.ms", derive: timestampBound("log.message.timestamp.after.max.ms"),
		doc: "How far in the future a producer's time may lie."},
	{name: "leader.replication.throttled.replicas", kind: kindList, value: "", valid: throttledReplicas{},
		doc: "Replicas whose leader side is throttled: * or partition:broker, comma-separated."},
	{name: "follower.replication.throttled.replicas", kind: kindList, value: "", valid: throttledReplicas{},
		doc: "Replicas whose follower side is throttled: * or partition:broker, comma-separated."},
	{name: "message.downconversion.enable", kind: kindBool, broker: "log.message.downconversion.enable",
		doc: "Whether consumers from before 0.11 get records, converted to the formats they know, or an error."},
	{name: "remote.storage.enable", kind: kindBool, value: "false",
		doc: "Whether segments move to remote storage. Not supported."},
	{name: "local.retention.ms", kind: kindLong, valid: atLeast(-2), broker: "log.local.retention.ms",
		doc: "Remote storage: how long a segment is also kept here."},
	{name: "local.retention.bytes", kind: kindLong, valid: atLeast(-2), broker: "log.local.retention.bytes",
		doc: "Remote storage: how much is also kept here."},
	{name: "remote.log.copy.disable", kind: kindBool, value: "false",
		doc: "Remote storage: no more copying to it."},
	{name: "remote.log.delete.on.disable", kind: kindBool, value: "false",
		doc: "Remote storage: delete what is there when it is switched off."},
}

const (
	minuteMS = 60 * 1000
	hourMS   = 60 * minuteMS
)

func rollMS(v values) string {
	return firstMS(v, "log.roll.ms", "", "log.roll.hours")
}

func rollJitterMS(v values) string {
	return firstMS(v, "log.roll.jitter.ms", "", "log.roll.jitter.hours")
}

func flushMS(v values) string {
	if ms, given := v.text("log.flush.interval.ms"); given {
		return ms
	}
	ms, _ := v.text("log.flush.scheduler.interval.ms")
	return ms
}

// retentionMS: every negative time means no limit.
func retentionMS(v values) string {
	ms := firstMS(v, "log.retention.ms", "log.retention.minutes", "log.retention.hours")
	if ms[0] == '-' {
		return "-1"
	}
	return ms
}

// firstMS is the first of a time's properties that has a value, in
// milliseconds. hours always has one; not every time has one in minutes.
func firstMS(v values, ms, minutes, hours string) string {
	if text, given := v.text(ms); given {
		return text
	}
	if _, given := v.text(minutes); given {
		return strconv.FormatInt(minuteMS*v.int64(minutes), 10)
	}
	return strconv.FormatInt(hourMS*v.int64(hours), 10)
}

// timestampBound: while a bound is at its default, the deprecated property for
// both applies.
func timestampBound(name string) func(values) string {
	return func(v values) string {
		if text, _ := v.text(name); text != noLimit {
			return text
		}
		text, _ := v.text("log.message.timestamp.difference.max.ms")
		return text
	}
}

const noLimit = "9223372036854775807"
