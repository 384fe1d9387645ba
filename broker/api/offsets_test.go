package api

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
)

func TestListOffsets(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 4)
	w.assign("elsewhere", 1, 2, 7, []int32{2})
	w.produce("t", 0, batch(5, 1)) // timestamps 1700000000000 to …4
	ask := func(version int16, topic string, ts int64, change func(*kmsg.ListOffsetsRequest)) kmsg.ListOffsetsResponseTopicPartition {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = ts
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		if change != nil {
			change(req)
		}
		return call[*kmsg.ListOffsetsResponse](w, version, req).Topics[0].Partitions[0]
	}
	for _, tt := range []struct {
		since             int16
		ts, offset, found int64
		epoch             int32
	}{
		{1, -1, 5, -1, 4}, {1, -2, 0, -1, 4}, {7, -3, 4, 1700000000004, 4}, {8, -4, 0, -1, 4}, {9, -5, -1, -1, -1},
		{1, 0, 0, 1700000000000, 4}, {1, 1700000000003, 3, 1700000000003, 4}, {1, 1700000000005, -1, -1, -1},
	} {
		for version := int16(1); version <= 9; version++ {
			p := ask(version, "t", tt.ts, nil)
			if version < tt.since {
				if p.ErrorCode != kerr.UnsupportedVersion.Code || p.Offset != -1 || p.Timestamp != -1 {
					t.Errorf("v%d at %d: %+v", version, tt.ts, p)
				}
				continue
			}
			epoch := tt.epoch
			if version < 4 {
				epoch = -1
			}
			if p.ErrorCode != 0 || p.Offset != tt.offset || p.Timestamp != tt.found || p.LeaderEpoch != epoch {
				t.Errorf("v%d at %d: %+v", version, tt.ts, p)
			}
		}
	}
	for _, tt := range []struct {
		topic  string
		change func(*kmsg.ListOffsetsRequest)
		want   *kerr.Error
	}{
		{"no", nil, kerr.UnknownTopicOrPartition},
		{"elsewhere", nil, kerr.NotLeaderForPartition},
		{"t", func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 3 }, kerr.FencedLeaderEpoch},
		{"t", func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 5 }, kerr.UnknownLeaderEpoch},
		{"t", func(r *kmsg.ListOffsetsRequest) { r.Topics = append(r.Topics, r.Topics...) }, kerr.InvalidRequest},
		{"t", func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].Timestamp = -6 }, kerr.UnsupportedVersion},
	} {
		if p := ask(9, tt.topic, -1, tt.change); p.ErrorCode != tt.want.Code || p.Offset != -1 || p.LeaderEpoch != -1 {
			t.Errorf("%s: %+v, want %s", tt.topic, p, tt.want.Message)
		}
	}
}

// Version 0 answers with offsets that the log is known to have reached.
func TestListOffsetsVersion0(t *testing.T) {
	w := newWorld(t, "log.segment.bytes=150")
	w.lead("t", 1, 0)
	w.lead("lagging", 1, 0, self, 2)
	for range 3 {
		w.produce("t", 0, batch(2, 20))
		w.produce("lagging", 0, batch(2, 20))
	}
	ask := func(topic string, ts int64, limit, replicaID int32, times int) []kmsg.ListOffsetsResponseTopicPartition {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = replicaID
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp, p.MaxNumOffsets = ts, limit
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: slices.Repeat([]kmsg.ListOffsetsRequestTopicPartition{p}, times)}}
		return call[*kmsg.ListOffsetsResponse](w, 0, req).Topics[0].Partitions
	}
	future := time.Now().Add(time.Hour).UnixMilli()
	for _, tt := range []struct {
		topic   string
		ts      int64
		limit   int32
		replica int32
		err     *kerr.Error
		want    []int64
	}{
		{"t", -1, 10, -1, nil, []int64{6, 4, 2, 0}}, {"t", -1, 2, -1, nil, []int64{6, 4}}, {"t", -1, 0, -1, nil, []int64{}},
		{"t", -2, 10, -1, nil, []int64{0}}, {"t", 1, 10, -1, nil, []int64{}}, {"t", future, 10, -1, nil, []int64{6, 4, 2, 0}},
		{"t", -1, -1, -1, kerr.UnknownServerError, []int64{}}, {"t", -3, 1, -1, kerr.UnsupportedVersion, []int64{}},
		{"no", -1, 1, -1, kerr.UnknownTopicOrPartition, []int64{}},
		{"lagging", -1, 10, -1, nil, []int64{0, 0}}, {"lagging", -1, 10, -2, nil, []int64{6, 4, 2, 0}}, {"lagging", -1, 10, 2, nil, []int64{6, 4, 2, 0}},
	} {
		p := ask(tt.topic, tt.ts, tt.limit, tt.replica, 1)[0]
		var code int16
		if tt.err != nil {
			code = tt.err.Code
		}
		if p.ErrorCode != code || !slices.Equal(p.OldStyleOffsets, tt.want) {
			t.Errorf("%s at %d, at most %d, for %d: %+v", tt.topic, tt.ts, tt.limit, tt.replica, p)
		}
	}
	for _, p := range ask("t", -1, 1, -1, maxRepeats) {
		if p.ErrorCode != 0 || !slices.Equal(p.OldStyleOffsets, []int64{6}) {
			t.Errorf("%d times: %+v", maxRepeats, p)
		}
	}
	for _, p := range ask("t", -1, 1, -1, maxRepeats+1) {
		if p.ErrorCode != kerr.InvalidRequest.Code || len(p.OldStyleOffsets) != 0 {
			t.Errorf("%d times: %+v", maxRepeats+1, p)
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 4)
	w.produce("t", 0, batch(5, 1))
	w.lead("t", 1, 6)
	w.produce("t", 0, batch(2, 1))
	for version := int16(0); version <= 4; version++ {
		for _, tt := range []struct {
			epoch, found int32
			end          int64
		}{{4, 4, 5}, {5, 4, 5}, {6, 6, 7}, {9, -1, -1}} {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.LeaderEpoch = tt.epoch
			req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
			got := call[*kmsg.OffsetForLeaderEpochResponse](w, version, req).Topics[0].Partitions[0]
			found := tt.found
			if version == 0 {
				found = -1
			}
			if got.ErrorCode != 0 || got.LeaderEpoch != found || got.EndOffset != tt.end {
				t.Errorf("v%d, epoch %d: %+v", version, tt.epoch, got)
			}
		}
	}
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.CurrentLeaderEpoch = 5
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}, {Topic: "no", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	resp := call[*kmsg.OffsetForLeaderEpochResponse](w, 4, req)
	if a, b := resp.Topics[0].Partitions[0], resp.Topics[1].Partitions[0]; a.ErrorCode != kerr.FencedLeaderEpoch.Code || a.EndOffset != -1 || b.ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("%+v %+v", a, b)
	}
}

// Between the metadata that a topic is being deleted and StopReplica, the
// partition is hosted and does not exist.
func TestHostedButUnknown(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 4)
	w.produce("t", 0, batch(5, 1))
	gone := kmsg.NewUpdateMetadataRequestTopicState()
	gone.Topic, gone.TopicID = "t", topicID("t")
	gone.PartitionStates = []kmsg.UpdateMetadataRequestTopicPartition{{Leader: -2}}
	w.update(8, gone)
	if _, err := w.replicas.Partition(protocol.TopicPartition{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	deletion, epoch := kmsg.NewPtrDeleteRecordsRequest(), kmsg.NewPtrOffsetForLeaderEpochRequest()
	fillRequest(deletion)
	fillRequest(epoch)
	for what, code := range map[string]int16{
		"DeleteRecords":        call[*kmsg.DeleteRecordsResponse](w, 2, deletion).Topics[0].Partitions[0].ErrorCode,
		"OffsetForLeaderEpoch": call[*kmsg.OffsetForLeaderEpochResponse](w, 4, epoch).Topics[0].Partitions[0].ErrorCode,
		"Fetch":                call[*kmsg.FetchResponse](w, 12, fetchOne("t", 0, 0)).Topics[0].Partitions[0].ErrorCode,
	} {
		if code != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("%s: error %d", what, code)
		}
	}
}

func TestDeleteRecords(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	for range 2 {
		w.produce("t", 0, batch(5, 1))
	}
	ask := func(topic string, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
		return call[*kmsg.DeleteRecordsResponse](w, 2, req).Topics[0].Partitions[0]
	}
	if p := ask("t", 3); p.ErrorCode != 0 || p.LowWatermark != 3 {
		t.Errorf("%+v", p)
	}
	if p := ask("t", 11); p.ErrorCode != kerr.OffsetOutOfRange.Code || p.LowWatermark != -1 {
		t.Errorf("%+v", p)
	}
	if p := ask("no", 1); p.ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("%+v", p)
	}
	if p := ask("t", -1); p.ErrorCode != 0 || p.LowWatermark != 10 {
		t.Errorf("%+v", p)
	}
	if p := call[*kmsg.FetchResponse](w, 12, fetchOne("t", 0, 3)).Topics[0].Partitions[0]; p.ErrorCode != kerr.OffsetOutOfRange.Code {
		t.Errorf("%+v", p)
	}
}

func TestDescribeLogDirs(t *testing.T) {
	w := newWorld(t)
	w.lead("b", 2, 0)
	w.lead("a", 1, 0)
	w.produce("a", 0, batch(1, 100))
	all := kmsg.NewPtrDescribeLogDirsRequest()
	resp := call[*kmsg.DescribeLogDirsResponse](w, 4, all)
	d := resp.Dirs[0]
	if len(resp.Dirs) != 1 || d.ErrorCode != 0 || d.Dir != "/data" || len(d.Topics) != 2 || d.Topics[0].Topic != "a" || d.Topics[0].Partitions[0].Size == 0 || len(d.Topics[1].Partitions) != 2 {
		t.Errorf("%+v", resp)
	}
	one := kmsg.NewPtrDescribeLogDirsRequest()
	one.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "b", Partitions: []int32{1, 7}}}
	if d := call[*kmsg.DescribeLogDirsResponse](w, 1, one).Dirs[0]; len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 1 || d.Topics[0].Partitions[0].Partition != 1 {
		t.Errorf("%+v", d)
	}
	none := kmsg.NewPtrDescribeLogDirsRequest()
	none.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	if d := call[*kmsg.DescribeLogDirsResponse](w, 4, none).Dirs[0]; len(d.Topics) != 0 {
		t.Errorf("%+v", d)
	}
}
