package replica

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// The values of acks in a Produce request.
const (
	AcksNone   int16 = 0
	AcksLeader int16 = 1
	AcksAll    int16 = -1
)

// ValidAcks reports whether acks is one of them; Kafka refuses a whole request
// with another one (kerr.InvalidRequiredAcks).
func ValidAcks(acks int16) bool {
	return acks == AcksNone || acks == AcksLeader || acks == AcksAll
}

// AppendRequest says who appends, and how it wants to be acknowledged.
type AppendRequest struct {
	Origin         record.Origin // Client or Coordinator
	ProduceVersion int16         // only for Client
	Acks           int16
	// InternalAllowed lets a client append to the topics that belong to the
	// broker, as Kafka does for the client id "__admin_client".
	InternalAllowed bool
	// LedSince, only of a Coordinator, is the leader epoch in which it began to
	// coordinate the partition. Nothing is appended for it unless this broker leads,
	// and has done so without a break since then.
	LedSince int32
	// Woken, if not nil, gets who has waited for the records: the caller goes on with
	// them when it has done what is more urgent.
	Woken *Woken
}

// AppendResult says where a batch is in the log.
type AppendResult struct {
	BaseOffset, LastOffset int64
	// AppendTimeMS is the time that the batch got on a LogAppendTime topic, else
	// −1. For a duplicate it is the original batch's maximum timestamp, as in
	// Kafka.
	AppendTimeMS int64
	LogStart     int64
	Duplicate    bool // the batch was in the log already
	// LeaderEpoch and LastOffset+1 are what NotifyAt needs for acks=all.
	LeaderEpoch int32
}

// Append appends the one batch of records, which it may patch in place and does
// not keep, or before Produce 3 the one that is made of a message set. When it
// returns, the batch is in the log, and with acks=1 and flush.messages=1 on the
// disk; for acks=all, wait with NotifyAt. A message set without a whole message
// changes nothing, and its offsets are −1, as in Kafka.
//
// Errors wrap kerr.NotLeaderForPartition, KafkaStorageError or
// UnknownTopicOrPartition by role; InvalidRequiredAcks; InvalidTopicException for
// an internal topic; NotEnoughReplicas if acks=all cannot be had; else those of
// record.ValidateForLeader and commitlog.Log.AppendAsLeader. After an error
// nothing was appended, except after KafkaStorageError: then it is not known,
// unless the disk is full (see vfs.NoRoom).
func (p *Partition) Append(records []byte, req AppendRequest) (AppendResult, error) {
	if !ValidAcks(req.Acks) {
		return AppendResult{}, fmt.Errorf("append to %v with acks=%d: %w", p.tp, req.Acks, kerr.InvalidRequiredAcks)
	}
	if req.Origin == record.Client && !req.InternalAllowed && protocol.IsInternalTopic(p.tp.Topic) {
		return AppendResult{}, fmt.Errorf("append to internal topic %s: %w", p.tp.Topic, kerr.InvalidTopicException)
	}
	r, err := p.roleForAppend(req)
	if err != nil {
		return AppendResult{}, err
	}
	// Most of the work is checking the batch, which needs no lock.
	cfg := r.log.Config()
	b, appendTime, err := record.ValidateForLeader(records, leaderRules(p.tp, cfg, req, time.Now().UnixMilli()))
	if err != nil {
		return AppendResult{}, fmt.Errorf("append to %v: %w", p.tp, err)
	}
	if b == nil {
		return AppendResult{BaseOffset: -1, LastOffset: -1, AppendTimeMS: record.NoTimestamp, LogStart: r.log.StartOffset(), LeaderEpoch: r.leaderEpoch}, nil
	}
	info, r, moved, err := p.appendLocked(b, req)
	if err != nil {
		return AppendResult{}, err
	}
	if !info.Duplicate {
		what := Appends
		if moved {
			p.wake(r)
			what = allMoves
		}
		p.watchers.moved(what, req.Woken)
	}
	// A duplicate waits for the disk, too: its original may not be there yet.
	if err := p.flush(r.log, cfg, info.LastOffset+1, req.Acks); err != nil {
		return AppendResult{}, err
	}
	result := AppendResult{
		BaseOffset:   info.FirstOffset,
		LastOffset:   info.LastOffset,
		AppendTimeMS: appendTime,
		LogStart:     info.LogStartOffset,
		Duplicate:    info.Duplicate,
		LeaderEpoch:  r.leaderEpoch,
	}
	if info.Duplicate {
		result.AppendTimeMS = info.MaxTimestamp
	}
	return result, nil
}

// roleForAppend returns the role if it allows the append.
func (p *Partition) roleForAppend(req AppendRequest) (*role, error) {
	r := p.role.Load()
	if err := r.serve(p.tp, true, NoEpoch); err != nil {
		return nil, err
	}
	if req.Origin == record.Coordinator && !r.ledSince(req.LedSince) {
		return nil, fmt.Errorf("append to %v: the leadership that began in epoch %d has ended: %w", p.tp, req.LedSince, kerr.NotLeaderForPartition)
	}
	if req.Acks == AcksAll && !r.enoughInSync() {
		return nil, fmt.Errorf("append to %v: in-sync replicas %v, min.insync.replicas is %d: %w", p.tp, r.isr, r.log.Config().MinInsyncReplicas, kerr.NotEnoughReplicas)
	}
	return r, nil
}

// appendLocked appends in one role, which cannot change meanwhile.
func (p *Partition) appendLocked(b record.Batch, req AppendRequest) (info commitlog.AppendInfo, r *role, moved bool, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if r, err = p.roleForAppend(req); err != nil {
		return info, r, false, err
	}
	if info, err = r.log.AppendAsLeader(b, r.leaderEpoch, req.Origin); err != nil {
		return info, r, false, p.explain(err)
	}
	if !info.Duplicate {
		r.followers.appended(info.FirstOffset)
	}
	return info, r, p.advance(r), nil
}

// flush sees to flush.messages: once so many records are not synced, they must
// be. Who waits for the high watermark does not wait here, so that all who append
// meanwhile share one fsync; for others the fsync comes before the answer.
//
// cfg is the configuration from before the append. If it has changed meanwhile,
// the high watermark may already wait for the disk.
func (p *Partition) flush(log *commitlog.Log, cfg *config.Topic, upTo int64, acks int16) error {
	if log.EndOffset()-log.SyncedOffset() < min(cfg.FlushMessages, log.Config().FlushMessages) {
		return nil
	}
	if acks != AcksLeader {
		p.shared.syncer.request(p)
		return nil
	}
	if err := log.Sync(upTo); err != nil {
		return p.explain(err)
	}
	p.localMoved()
	return nil
}

// leaderRules are the rules of a topic's configuration.
func leaderRules(tp protocol.TopicPartition, cfg *config.Topic, req AppendRequest, nowMS int64) record.LeaderRules {
	rules := record.LeaderRules{
		Origin:          req.Origin,
		ProduceVersion:  req.ProduceVersion,
		Partition:       tp,
		MaxMessageBytes: cfg.MaxMessageBytes,
		SegmentBytes:    cfg.SegmentBytes,
		Compacted:       cfg.Compact,
		TimestampType:   record.TimestampType(cfg.MessageTimestampType),
		BeforeMaxMS:     cfg.TimestampBeforeMaxMS,
		AfterMaxMS:      cfg.TimestampAfterMaxMS,
		NowMS:           nowMS,
		TargetCodec:     record.CompressionProducer,
		TargetLevel:     record.DefaultLevel,
		Full:            cfg.FullValidation,
	}
	if codec, ok := record.ParseCodec(cfg.CompressionType); ok { // "producer" is none
		rules.TargetCodec = codec
		switch codec {
		case record.Gzip:
			rules.TargetLevel = int(cfg.CompressionGzipLevel)
		case record.LZ4:
			rules.TargetLevel = int(cfg.CompressionLZ4Level)
		case record.Zstd:
			rules.TargetLevel = int(cfg.CompressionZstdLevel)
		}
	}
	return rules
}
