package api

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/broker/fetch"
	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// fetchRecords serves records to consumers and followers. Sessions and waiting
// are package fetch's; here requests are read, and results encoded.
type fetchRecords struct {
	view       *cluster.View
	settings   *config.Settings
	replicas   *replica.Replicas
	sessions   *fetch.Manager
	conversion conversionSlots
	codes      codes
}

func newFetchRecords(d *Deps, sessions *fetch.Manager, codes codes) *fetchRecords {
	return &fetchRecords{view: d.View, settings: d.Settings, replicas: d.Replicas, sessions: sessions,
		conversion: newConversionSlots(), codes: codes}
}

func (h *fetchRecords) handle(ctx context.Context, r *server.Request) error {
	var q fetchRequest
	if err := q.decode(r.Header.Version, r.Body); err != nil {
		return err
	}
	cost := fetchCost * q.allPartitions
	noWait := !r.MayWait(cost)
	if noWait {
		if err := r.Reserve(ctx, cost); err != nil {
			return err
		}
	}
	req := h.request(r, &q)
	if noWait {
		req.MaxWait = 0
	}
	var woken *replica.Woken
	if req.Reader.IsFollower() {
		woken = new(replica.Woken)
		req.Woken = (*[]func())(woken)
	}
	defer woken.GoOn()
	resp, wait := h.sessions.Fetch(ctx, req)
	answer := fetchAnswer{h, q.version, req.Reader.IsFollower(), r.Listener.Name}
	if wait == nil {
		reply := r.NewReply()
		answer.encode(reply, &resp)
		r.Send(reply)
		woken.Leave() // there is something to send
		return nil
	}
	r.ReleaseBody()
	later := r.Later(func() { wait.End(ctx.Err() != nil) })
	wait.Begin(func(resp fetch.Response) { answer.send(later, resp) }, later.Protect)
	return nil
}

// fetchAnswer makes the response to a request, of which it keeps little: a fetch may wait
// long.
type fetchAnswer struct {
	*fetchRecords
	version  int16
	follower bool
	listener string
}

// send answers a request that has waited, in the goroutine of somebody else.
func (h *fetchAnswer) send(later *server.Later, resp fetch.Response) {
	if later.Context().Err() != nil { // nobody is there to read it
		resp.Release()
		later.Drop()
		return
	}
	send := func() {
		reply := later.NewReply()
		h.encode(reply, &resp)
		later.Send(reply)
	}
	if _, old := messageFormat(h.version); old {
		go later.Protect(send)() // converting takes long, and may have to wait
		return
	}
	send()
}

// encode takes over the ranges of the response.
func (h *fetchAnswer) encode(reply *server.Reply, resp *fetch.Response) {
	hints := hints{snapshot: h.view.Snapshot(), listener: h.listener}
	results := make([]fetchResult, len(resp.Results))
	for i := range resp.Results {
		results[i] = h.result(&resp.Results[i], &hints)
	}
	appendFetchResponse(reply, h.version, h.codes.of(resp.Err), resp.SessionID, results, hints.nodes,
		func(_ *fetchResult, err error) int16 {
			h.codes.log.Error("records cannot be read", "error", err)
			return h.code(h.version, kerr.KafkaStorageError)
		})
}

// request copies what is needed of the request: its bytes do not outlive the
// wait. Names of topics that exist are those of the snapshot, so that a session
// does not keep a copy for each partition.
func (h *fetchRecords) request(r *server.Request, q *fetchRequest) *fetch.Request {
	byID := q.version >= 13
	req := &fetch.Request{
		SessionID: q.sessionID, SessionEpoch: q.sessionEpoch, ByID: byID,
		Partitions: make([]fetch.PartitionRequest, 0, q.allPartitions),
		MaxWait:    time.Duration(q.maxWaitMS) * time.Millisecond,
		MinBytes:   q.minBytes, MaxBytes: q.maxBytes, HardLimits: q.version < 3,
		Reader: fetch.Reader{
			ReplicaID: q.replicaID, ReplicaEpoch: q.replicaEpoch, ReadCommitted: q.readCommitted,
			Rack: string(q.rack), ClientHost: r.ClientHost, MayFollow: q.version >= 11,
		},
	}
	switch {
	case !req.Reader.IsFollower():
		req.MaxBytes = min(req.MaxBytes, h.settings.Broker().Fetch.MaxBytes)
	case !r.Listener.InterBroker:
		// As Kafka where ClusterAction is not granted: whoever passes for a
		// follower reads what is not committed, and takes part in committing it.
		req.Refuse = kerr.TopicAuthorizationFailed
	}
	s := h.view.Snapshot()
	for q.nextTopic() {
		topic, id := nameTopic(s, byID, q)
		for q.nextPartition() {
			p := &q.partition
			req.Partitions = append(req.Partitions, fetch.PartitionRequest{
				Key: fetch.Key{Topic: topic, ID: id, Partition: p.partition},
				Want: fetch.Want{
					Offset: p.offset, LogStart: p.logStart, MaxBytes: p.maxBytes,
					CurrentLeaderEpoch: optionalEpoch(p.currentLeaderEpoch), LastFetchedEpoch: optionalEpoch(p.lastFetchedEpoch),
				},
			})
		}
	}
	for q.nextForgottenTopic() {
		topic, id := nameTopic(s, byID, q)
		for q.nextForgotten() {
			req.Forgotten = append(req.Forgotten, fetch.Key{Topic: topic, ID: id, Partition: q.partition.partition})
		}
	}
	return req
}

// nameTopic returns name and id of the request's current topic, as far as they
// are known.
func nameTopic(s *cluster.Snapshot, byID bool, q *fetchRequest) (string, protocol.TopicID) {
	if byID {
		if t, ok := s.TopicByID(q.topicID); ok {
			return t.Name, q.topicID
		}
		return "", q.topicID
	}
	if t, ok := s.Topic(string(q.topic)); ok {
		return t.Name, protocol.TopicID{}
	}
	return string(q.topic), protocol.TopicID{}
}

// result takes over the range of p.
func (h *fetchAnswer) result(p *fetch.Result, hints *hints) fetchResult {
	version := h.version
	if err := h.refusal(p); err != nil {
		return h.refused(p, err)
	}
	out := fetchResult{
		topic: p.Topic, topicID: p.ID, partition: p.Partition,
		code:          h.code(version, p.Err),
		highWatermark: p.HighWatermark, lastStable: p.LastStable, logStart: p.LogStart,
		divergingEpoch: p.DivergingEpoch, divergingEndOffset: p.DivergingEnd,
		currentLeader: noHint, aborted: p.Aborted, preferredReplica: p.PreferredReplica,
	}
	if version >= 13 {
		out.topic = "" // the id says it
	}
	if errors.Is(p.Err, kerr.UnknownTopicOrPartition) || errors.Is(p.Err, kerr.UnknownTopicID) || errors.Is(p.Err, kerr.TopicAuthorizationFailed) {
		out.aborted = []commitlog.AbortedTxn{} // as in Kafka: empty where nothing was looked up, else null
	}
	if len(p.Loaded) > 0 {
		out.records = server.Range{File: bytes.NewReader(p.Loaded), Len: len(p.Loaded)}
	} else if p.Range.Len > 0 {
		out.records = server.Range{File: p.Range.File, Offset: p.Range.Pos, Len: p.Range.Len, Owner: &p.Range}
	}
	if magic, old := messageFormat(version); old && out.records.Len > 0 {
		var err error
		if out.records, err = h.conversion.convert(out.records, magic, p.Offset); err != nil {
			return h.refused(p, err)
		}
	}
	if version >= 16 && (errors.Is(p.Err, kerr.NotLeaderForPartition) || errors.Is(p.Err, kerr.FencedLeaderEpoch)) {
		out.currentLeader = hints.leader(protocol.TopicPartition{Topic: p.Topic, Partition: p.Partition})
	}
	return out
}

// code: clients before version 6 do not know KAFKA_STORAGE_ERROR, and would not
// look for another leader.
func (h *fetchRecords) code(version int16, err error) int16 {
	if version < 6 && errors.Is(err, kerr.KafkaStorageError) {
		return kerr.NotLeaderForPartition.Code
	}
	return h.codes.of(err)
}

// hosted lets package fetch read the partitions of package replica.
type hosted struct{ *replica.Partition }

// Watch implements fetch.Partition.
func (p hosted) Watch(w fetch.Watcher, token uint32, follower bool) {
	awaited := replica.Commits
	if follower {
		awaited = replica.Appends
	}
	p.Partition.Watch(w, token, awaited)
}

// Unwatch implements fetch.Partition.
func (p hosted) Unwatch(w fetch.Watcher, token uint32) { p.Partition.Unwatch(w, token) }

// Read implements fetch.Partition.
func (p hosted) Read(r fetch.ReadRequest) (fetch.ReadResult, error) {
	res, err := p.Partition.Read(replica.ReadRequest{
		Offset:             r.Offset,
		MaxBytes:           r.Limit,
		MinOne:             r.MinOne,
		ReadCommitted:      r.Reader.ReadCommitted,
		CurrentLeaderEpoch: r.CurrentLeaderEpoch,
		LastFetchedEpoch:   r.LastFetchedEpoch,
		ReplicaID:          r.Reader.ReplicaID,
		Follower:           replica.FollowerState{BrokerEpoch: r.Reader.ReplicaEpoch, LogStart: r.LogStart, New: r.New},
		FollowerAllowed:    r.Reader.MayFollow,
		Woken:              (*replica.Woken)(r.Woken),
	})
	out := fetch.ReadResult{
		HighWatermark: res.HighWatermark, LastStable: res.LastStableOffset, LogStart: res.LogStart,
		Range: res.Range, Aborted: res.Aborted,
		DivergingEpoch: res.Diverging.Epoch, DivergingEnd: res.Diverging.EndOffset,
		PreferredReplica: -1,
	}
	switch {
	case r.Reader.IsFollower():
		out.End = res.LogEnd
	case r.Reader.ReadCommitted:
		out.End = res.LastStableOffset
	default:
		out.End = res.HighWatermark
	}
	return out, err
}

// Continues implements fetch.Partition.
func (p hosted) Continues(r commitlog.Range, end int64) bool {
	log, err := p.Log()
	return err == nil && log.UpperBound(r) < end
}

// lookupIn finds partitions for fetches.
func lookupIn(view *cluster.View, replicas *replica.Replicas) fetch.Lookup {
	return func(k fetch.Key, byID bool) (string, fetch.Partition, error) {
		if byID {
			p, tp, err := replicas.ByTopicID(k.ID, k.Partition)
			if err != nil {
				return tp.Topic, nil, err
			}
			return tp.Topic, hosted{p}, nil
		}
		tp := protocol.TopicPartition{Topic: k.Topic, Partition: k.Partition}
		p, err := hostedPartition(view.Snapshot(), replicas, tp)
		if err != nil {
			return k.Topic, nil, err
		}
		return k.Topic, hosted{p}, nil
	}
}

// optionalEpoch is a leader epoch of a Fetch request, in which any negative one
// stands for none. Other requests know −1 only.
func optionalEpoch(epoch int32) int32 {
	return max(epoch, replica.NoEpoch)
}
