package api

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
)

// offsetFetch tells what groups have committed: to the coordinator, or as version 0
// asks in ZooKeeper.
type offsetFetch struct {
	groups *group.Coordinator
	old    zookeeperOffsets
	codes  codes
	turns  chan struct{} // has room for as many requests as may be answered at a time
}

// newOffsetFetch leaves one processor to those who produce and fetch. The route has no
// slots, since those who wait for ZooKeeper would have them.
func newOffsetFetch(groups *group.Coordinator, old zookeeperOffsets, codes codes) *offsetFetch {
	return &offsetFetch{groups: groups, old: old, codes: codes, turns: make(chan struct{}, max(runtime.GOMAXPROCS(0)-1, 1))}
}

// maxOffsetsAgain is how many offsets a response may have before all those of a group
// whose offsets it has are not told again.
const maxOffsetsAgain = 50_000

// noCommitted stands for an offset that is not told.
var noCommitted = group.OffsetValue{Offset: -1, LeaderEpoch: -1}

func (h *offsetFetch) handle(ctx context.Context, r *server.Request, req *kmsg.OffsetFetchRequest) (*kmsg.OffsetFetchResponse, error) {
	if r.Header.Version == 0 {
		return oldResponse(h.old.fetch(ctx, onlyGroup(req))), nil
	}
	unsure := h.groups.Confirm(ctx, groupsOf(r.Header.Version, req)...)
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r.Header.Version < 8 {
		g := h.single(r.Header.Version, onlyGroup(req), unsure, req.RequireStable)
		r.Expect(smallBody + offsetSize*countOffsets(&g))
		return oldResponse(g), nil
	}
	resp, told := h.several(req, unsure)
	r.Expect(smallBody + offsetSize*told)
	return resp, nil
}

// offsetSize is about how many bytes an offset takes in a response.
const offsetSize = 24

func countOffsets(g *kmsg.OffsetFetchResponseGroup) (n int) {
	for i := range g.Topics {
		n += len(g.Topics[i].Partitions)
	}
	return n
}

// several answers for groups, each on its own, and says how many offsets it tells.
func (h *offsetFetch) several(req *kmsg.OffsetFetchRequest, unsure map[string]error) (resp *kmsg.OffsetFetchResponse, told int) {
	resp = kmsg.NewPtrOffsetFetchResponse()
	resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(req.Groups))
	seen := make(map[string]bool, len(req.Groups))
	for i := range req.Groups {
		q := &req.Groups[i]
		out := &resp.Groups[i]
		if q.Topics == nil && seen[q.Group] && told > maxOffsetsAgain {
			out.Group, out.ErrorCode = q.Group, kerr.InvalidRequest.Code
			continue
		}
		seen[q.Group] = true
		*out = h.group(q, unsure[q.Group], req.RequireStable)
		told += countOffsets(out)
	}
	return resp, told
}

// group answers for one group, an error with no topics. It is not looked at if it is not
// sure to be coordinated here.
func (h *offsetFetch) group(q *kmsg.OffsetFetchRequestGroup, unsure error, stable bool) kmsg.OffsetFetchResponseGroup {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group = q.Group
	if unsure != nil {
		out.ErrorCode = h.codes.of(unsure)
		return out
	}
	if q.Topics == nil {
		offsets, err := h.groups.FetchAllOffsets(nil, q.Group)
		if out.ErrorCode = h.codes.of(err); err == nil {
			out.Topics = allOffsets(offsets, stable)
		}
		return out
	}
	named := partitionsOf(q)
	offsets, err := h.groups.FetchOffsets(make([]group.CommittedOffset, 0, len(named)), q.Group, named)
	if out.ErrorCode = h.codes.of(err); err == nil {
		out.Topics = namedOffsets(q, offsets, stable)
	}
	return out
}

// single is group for versions 1 to 7. The first of them can tell an error only of
// partitions.
func (h *offsetFetch) single(version int16, q *kmsg.OffsetFetchRequestGroup, unsure map[string]error, stable bool) kmsg.OffsetFetchResponseGroup {
	out := h.group(q, unsure[q.Group], stable)
	if version == 1 && out.ErrorCode != 0 {
		out.Topics = namedOffsets(q, make([]group.CommittedOffset, len(partitionsOf(q))), false)
		for i := range out.Topics {
			for j := range out.Topics[i].Partitions {
				p := &out.Topics[i].Partitions[j]
				p.Offset, p.ErrorCode = -1, out.ErrorCode
			}
		}
	}
	return out
}

func partitionsOf(q *kmsg.OffsetFetchRequestGroup) []protocol.TopicPartition {
	n := 0
	for i := range q.Topics {
		n += len(q.Topics[i].Partitions)
	}
	list := make([]protocol.TopicPartition, 0, n)
	for i := range q.Topics {
		for _, p := range q.Topics[i].Partitions {
			list = append(list, protocol.TopicPartition{Topic: q.Topics[i].Topic, Partition: p})
		}
	}
	return list
}

// namedOffsets puts the offsets of the partitions of a request, in its order, under
// their topics.
func namedOffsets(q *kmsg.OffsetFetchRequestGroup, offsets []group.CommittedOffset, stable bool) []kmsg.OffsetFetchResponseGroupTopic {
	topics := make([]kmsg.OffsetFetchResponseGroupTopic, len(q.Topics))
	for i := range topics {
		n := len(q.Topics[i].Partitions)
		topics[i].Topic = q.Topics[i].Topic
		topics[i].Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, n)
		for j := range n {
			topics[i].Partitions[j] = committed(q.Topics[i].Partitions[j], &offsets[j], stable)
		}
		offsets = offsets[n:]
	}
	return topics
}

// allOffsets puts offsets that are in no order under their topics.
func allOffsets(offsets []group.CommittedOffset, stable bool) []kmsg.OffsetFetchResponseGroupTopic {
	slices.SortFunc(offsets, func(a, b group.CommittedOffset) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	var topics []kmsg.OffsetFetchResponseGroupTopic
	for i := range offsets {
		o := &offsets[i]
		if i == 0 || o.Topic != offsets[i-1].Topic {
			topics = append(topics, kmsg.OffsetFetchResponseGroupTopic{Topic: o.Topic})
		}
		t := &topics[len(topics)-1]
		t.Partitions = append(t.Partitions, committed(o.Partition, o, stable))
	}
	return topics
}

// committed is what is told of one partition. A client that wants stable offsets comes
// again while one may change (KIP-447).
func committed(partition int32, o *group.CommittedOffset, stable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	value, code := &o.OffsetValue, int16(0)
	if stable && o.Unstable {
		value, code = &noCommitted, kerr.UnstableOffsetCommit.Code
	}
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: partition, Offset: value.Offset, LeaderEpoch: value.LeaderEpoch, Metadata: &value.Metadata, ErrorCode: code,
	}
}

// groupsOf are the groups that a request asks about.
func groupsOf(version int16, req *kmsg.OffsetFetchRequest) []string {
	if version < 8 {
		return []string{req.Group}
	}
	groups := make([]string, len(req.Groups))
	for i := range req.Groups {
		groups[i] = req.Groups[i].Group
	}
	return groups
}

// onlyGroup is what a request before version 8 asks.
func onlyGroup(req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchRequestGroup {
	q := &kmsg.OffsetFetchRequestGroup{Group: req.Group}
	if req.Topics != nil { // null stands for all
		q.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
	}
	for i, t := range req.Topics {
		q.Topics[i] = kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions}
	}
	return q
}

// oldResponse answers such a request.
func oldResponse(g kmsg.OffsetFetchResponseGroup) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.ErrorCode = g.ErrorCode
	resp.Topics = make([]kmsg.OffsetFetchResponseTopic, len(g.Topics))
	for i := range g.Topics {
		t := &resp.Topics[i]
		t.Topic = g.Topics[i].Topic
		t.Partitions = make([]kmsg.OffsetFetchResponseTopicPartition, len(g.Topics[i].Partitions))
		for j := range t.Partitions {
			p := &g.Topics[i].Partitions[j]
			t.Partitions[j] = kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			}
		}
	}
	return resp
}
