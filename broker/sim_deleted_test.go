package broker

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// simDeleted are groups without members, and what is left in the end of the offsets that
// were committed: of one group some were deleted, and committed again, the other is
// deleted.
var simDeleted = []struct {
	group string
	want  [simPartitions]int64
}{
	{"some", [simPartitions]int64{-1, 1, 2}},
	{"all", [simPartitions]int64{-1, -1, -1}},
}

// deleteOffsets commits and deletes, while all is well.
func (s *simulation) deleteOffsets() bool {
	ok := true
	for _, d := range simDeleted {
		ok = ok && s.done(d.group, commits(d.group, 1, 0, 1, 2))
	}
	some := kmsg.NewPtrOffsetDeleteRequest()
	some.Group = "some"
	topic := kmsg.NewOffsetDeleteRequestTopic()
	topic.Topic = simTopic
	for _, p := range []int32{0, 2} {
		partition := kmsg.NewOffsetDeleteRequestTopicPartition()
		partition.Partition = p
		topic.Partitions = append(topic.Partitions, partition)
	}
	some.Topics = append(some.Topics, topic)
	all := kmsg.NewPtrDeleteGroupsRequest()
	all.Groups = []string{"all"}
	ok = ok && s.done("some", some) && s.done("some", commits("some", 2, 2)) && s.done("all", all)
	time.Sleep(time.Second) // nobody waits until the followers have tombstones, as in Kafka
	return ok && s.checkDeleted()
}

// commits is a commit of somebody who is in no group.
func commits(group string, offset int64, partitions ...int32) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = simTopic
	for _, p := range partitions {
		partition := kmsg.NewOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = p, offset
		topic.Partitions = append(topic.Partitions, partition)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// checkDeleted holds that the groups of simDeleted have what they should.
func (s *simulation) checkDeleted() bool {
	for _, d := range simDeleted {
		var got [simPartitions]int64
		if !s.asked(d.group, offsetFetch(d.group), func(resp kmsg.Response) {
			for _, p := range resp.(*kmsg.OffsetFetchResponse).Topics[0].Partitions {
				got[p.Partition] = p.Offset
			}
		}) {
			return false
		}
		if got != d.want {
			s.seen.bad("group %q has committed %v, and should have %v", d.group, got, d.want)
		}
	}
	return true
}

func (s *simulation) done(group string, req kmsg.Request) bool {
	return s.asked(group, req, func(kmsg.Response) {})
}

// asked asks a group's coordinator until there is an answer without an error.
func (s *simulation) asked(group string, req kmsg.Request, answer func(kmsg.Response)) bool {
	w := wire{process: s.clients}
	defer w.close()
	return s.within(15*time.Second, fmt.Sprintf("%s of group %q", kmsg.Key(req.Key()).Name(), group), func() bool {
		coordinator, err := w.coordinator(1, group)
		if err != nil {
			return false
		}
		resp, err := w.ask(coordinator, req, simVersions[kmsg.Key(req.Key())], 2*time.Second)
		if err != nil || firstError(resp) != nil {
			return false
		}
		answer(resp)
		return true
	})
}

var simVersions = map[kmsg.Key]int16{
	kmsg.OffsetCommit: wireOffsetCommit, kmsg.OffsetFetch: wireOffsetFetch, kmsg.OffsetDelete: wireOffsetDelete, kmsg.DeleteGroups: wireDeleteGroups,
}

// firstError is the first error of a response.
func firstError(resp kmsg.Response) error {
	var codes []int16
	switch resp := resp.(type) {
	case *kmsg.OffsetCommitResponse:
		for _, p := range resp.Topics[0].Partitions {
			codes = append(codes, p.ErrorCode)
		}
	case *kmsg.OffsetDeleteResponse:
		codes = append(codes, resp.ErrorCode)
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
	case *kmsg.DeleteGroupsResponse:
		codes = append(codes, resp.Groups[0].ErrorCode)
	case *kmsg.OffsetFetchResponse:
		return fetchError(resp)
	}
	for _, code := range codes {
		if err := kerr.ErrorForCode(code); err != nil {
			return err
		}
	}
	return nil
}
