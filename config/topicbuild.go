package config

import "math"

// DefaultTopic is the configuration of a topic where nothing was set anywhere.
func DefaultTopic() *Topic {
	v, _ := brokerTable.parseAll(nil)
	return topicFrom(v, nil)
}

// Topic resolves the configuration of a topic that has these values of its own
// (from /config/topics/<name>). Values that do not parse are left out: they
// were validated when they were set, and a broker must not refuse to serve a
// topic over them.
func (s *Settings) Topic(overrides map[string]string) *Topic {
	return topicFrom(s.layers.Load().values, overrides)
}

// topicValues are all topic properties: the topic's own values, and for the
// others what the broker's come to.
func topicValues(broker values, overrides map[string]string) values {
	v := make(values, len(topicTable.rows))
	for i := range topicTable.rows {
		p := &topicTable.rows[i]
		if raw, own := overrides[p.name]; own {
			if text, invalid := p.parse(raw); invalid == nil {
				v[p.name] = text
				continue
			}
		}
		v[p.name] = p.defaultFrom(broker)
	}
	return v
}

// defaultFrom is what a topic without a value of its own gets.
func (p *property) defaultFrom(broker values) string {
	switch {
	case p.derive != nil:
		return p.derive(broker)
	case p.broker != "":
		return broker[p.broker]
	}
	return p.value
}

func topicFrom(broker values, overrides map[string]string) *Topic {
	v := topicValues(broker, overrides)
	t := &Topic{
		SegmentBytes: v.int32("segment.bytes"), SegmentMS: v.int64("segment.ms"), SegmentJitterMS: v.int64("segment.jitter.ms"),
		SegmentIndexBytes: v.int32("segment.index.bytes"), IndexIntervalBytes: v.int32("index.interval.bytes"),
		Preallocate: v.bool("preallocate"), FileDeleteDelayMS: v.int64("file.delete.delay.ms"),
		RetentionMS: v.int64("retention.ms"), RetentionBytes: v.int64("retention.bytes"),
		FlushMessages: v.int64("flush.messages"), FlushMS: v.int64("flush.ms"),
		MaxMessageBytes: v.int32("max.message.bytes"), CompressionType: v.string("compression.type"),
		CompressionGzipLevel: v.int32("compression.gzip.level"), CompressionLZ4Level: v.int32("compression.lz4.level"),
		CompressionZstdLevel:  v.int32("compression.zstd.level"),
		TimestampBeforeMaxMS:  v.int64("message.timestamp.before.max.ms"),
		TimestampAfterMaxMS:   v.int64("message.timestamp.after.max.ms"),
		DownConversion:        v.bool("message.downconversion.enable"),
		FullValidation:        broker.string("record.validation") == "full",
		MinInsyncReplicas:     v.int32("min.insync.replicas"),
		UncleanLeaderElection: v.bool("unclean.leader.election.enable"),
		DeleteRetentionMS:     v.int64("delete.retention.ms"), MinCompactionLagMS: v.int64("min.compaction.lag.ms"),
		MaxCompactionLagMS: v.int64("max.compaction.lag.ms"), MinCleanableDirtyRatio: v.float64("min.cleanable.dirty.ratio"),
		LeaderThrottledReplicas:   v.list("leader.replication.throttled.replicas"),
		FollowerThrottledReplicas: v.list("follower.replication.throttled.replicas"),
	}
	if v.string("message.timestamp.type") == "LogAppendTime" {
		t.MessageTimestampType = LogAppendTime
	}
	// While a bound is at its default, the deprecated property for both applies.
	// DescribeConfigs goes on to show the bound.
	both := v.int64("message.timestamp.difference.max.ms")
	if t.TimestampBeforeMaxMS == math.MaxInt64 {
		t.TimestampBeforeMaxMS = both
	}
	if t.TimestampAfterMaxMS == math.MaxInt64 {
		t.TimestampAfterMaxMS = both
	}
	for _, policy := range v.list("cleanup.policy") {
		t.Delete = t.Delete || policy == "delete"
		t.Compact = t.Compact || policy == "compact"
	}
	return t
}
