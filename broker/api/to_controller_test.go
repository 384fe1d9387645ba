package api

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/controller"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

func TestAlterPartition(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrAlterPartitionRequest()
	req.BrokerID, req.BrokerEpoch = 2, 40
	for _, topic := range []string{"a", "b"} {
		in := kmsg.NewAlterPartitionRequestTopic()
		in.Topic, in.TopicID = topic, topicID(topic)
		for number := range int32(2) {
			p := kmsg.NewAlterPartitionRequestTopicPartition()
			p.Partition, p.LeaderEpoch, p.PartitionEpoch, p.NewISR, p.LeaderRecoveryState = number, 5, 7, []int32{2, 3}, 1
			for _, id := range p.NewISR {
				p.NewEpochISR = append(p.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: int64(id) * 10})
			}
			in.Partitions = append(in.Partitions, p)
		}
		req.Topics = append(req.Topics, in)
	}
	state := zkmeta.PartitionState{Leader: 2, LeaderEpoch: 5, ISR: []int32{2, 3}, Recovering: true}
	w.control.altered = []controller.ISRResult{
		{State: state, PartitionEpoch: 8},
		{Err: fmt.Errorf("not ready: %w", kerr.IneligibleReplica)},
		{Err: kerr.InvalidUpdateVersion},
		{Err: kerr.UnknownTopicID},
	}
	for version := range int16(4) {
		resp := call[*kmsg.AlterPartitionResponse](w, version, req)
		for i, c := range w.control.changes {
			want := controller.ISRChange{Topic: "ab"[i/2 : i/2+1], Partition: int32(i % 2), LeaderEpoch: 5, PartitionEpoch: 7, ISR: []int32{2, 3}, Recovering: version > 0}
			if version >= 3 {
				want.BrokerEpochs = []int64{20, 30}
			}
			if version >= 2 {
				want.Topic, want.TopicID = "", topicID(want.Topic)
			}
			if !reflect.DeepEqual(c, want) {
				t.Errorf("v%d: asked for %+v, want %+v", version, c, want)
			}
		}
		var codes []int16
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
		ineligible := kerr.IneligibleReplica.Code
		if version < 2 {
			ineligible = kerr.OperationNotAttempted.Code
		}
		if want := []int16{0, ineligible, kerr.InvalidUpdateVersion.Code, kerr.UnknownTopicID.Code}; !slices.Equal(codes, want) {
			t.Errorf("v%d: codes %v, want %v", version, codes, want)
		}
		p := resp.Topics[0].Partitions[0]
		if p.LeaderID != 2 || p.LeaderEpoch != 5 || p.PartitionEpoch != 8 || !slices.Equal(p.ISR, []int32{2, 3}) || version > 0 && p.LeaderRecoveryState != 1 {
			t.Errorf("v%d: %+v", version, p)
		}
	}
	w.control.err = fmt.Errorf("no: %w", kerr.StaleBrokerEpoch)
	if resp := call[*kmsg.AlterPartitionResponse](w, 3, req); resp.ErrorCode != kerr.StaleBrokerEpoch.Code || len(resp.Topics) != 0 {
		t.Errorf("%+v", resp)
	}
}

func TestControlledShutdown(t *testing.T) {
	w := newWorld(t)
	w.control.led = []protocol.TopicPartition{{Topic: "a", Partition: 3}}
	req := kmsg.NewPtrControlledShutdownRequest()
	req.BrokerID, req.BrokerEpoch = 2, 40
	for version := range int16(4) {
		resp := call[*kmsg.ControlledShutdownResponse](w, version, req)
		if left := resp.PartitionsRemaining; resp.ErrorCode != 0 || len(left) != 1 || left[0].Topic != "a" || left[0].Partition != 3 {
			t.Errorf("v%d: %+v", version, resp)
		}
		want := [2]int64{2, 40}
		if version < 2 {
			want[1] = controller.AnyBrokerEpoch
		}
		if w.control.shutdown != want {
			t.Errorf("v%d: asked for %v, want %v", version, w.control.shutdown, want)
		}
	}
	for err, want := range map[error]int16{kerr.NotController: kerr.StaleControllerEpoch.Code, kerr.BrokerNotAvailable: kerr.BrokerNotAvailable.Code} {
		w.control.err = fmt.Errorf("no: %w", err)
		if resp := call[*kmsg.ControlledShutdownResponse](w, 3, req); resp.ErrorCode != want {
			t.Errorf("%v: %+v", err, resp)
		}
	}
}

func electionRequest(kind int8, topics ...kmsg.ElectLeadersRequestTopic) *kmsg.ElectLeadersRequest {
	req := kmsg.NewPtrElectLeadersRequest()
	req.ElectionType, req.Topics = kind, topics
	return req
}

func TestElectLeaders(t *testing.T) {
	w := newWorld(t)
	w.assign("a", 2, 1, 4, []int32{1, 2})
	w.control.elect = func(tps []protocol.TopicPartition) []controller.ElectionResult {
		results := make([]controller.ElectionResult, len(tps))
		for i, tp := range tps {
			switch {
			case tp.Topic != "a":
				results[i].Err = fmt.Errorf("There is no %v.: %w", tp, kerr.UnknownTopicOrPartition)
			case tp.Partition == 0:
				results[i].Err = kerr.ElectionNotNeeded
			default:
				results[i].Leader = 1
			}
		}
		return results
	}
	describe := func(version int16, req *kmsg.ElectLeadersRequest) string {
		resp := call[*kmsg.ElectLeadersResponse](w, version, req)
		text := fmt.Sprint(resp.ErrorCode)
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				text += fmt.Sprintf(" %s-%d:%d", topic.Topic, p.Partition, p.ErrorCode)
				if p.ErrorMessage != nil {
					text += "(" + *p.ErrorMessage + ")"
				}
			}
		}
		return text
	}
	named := electionRequest(1,
		kmsg.ElectLeadersRequestTopic{Topic: "a", Partitions: []int32{0, 1, 0}},
		kmsg.ElectLeadersRequestTopic{Topic: "b", Partitions: []int32{7}},
		kmsg.ElectLeadersRequestTopic{Topic: "a", Partitions: []int32{1}})
	for version := range int16(3) {
		if got, want := describe(version, named), "0 a-0:84 a-1:0 b-7:3(There is no b-7.)"; got != want {
			t.Errorf("v%d: %s, want %s", version, got, want)
		}
		if w.control.unclean != (version > 0) {
			t.Errorf("v%d: unclean %v", version, w.control.unclean)
		}
		all := electionRequest(0)
		all.Topics = nil
		if got, want := describe(version, all), "0 a-1:0"; got != want {
			t.Errorf("v%d: %s, want %s", version, got, want)
		}
		if got, want := describe(version, electionRequest(0, []kmsg.ElectLeadersRequestTopic{}...)), "0"; version > 0 && got != want {
			t.Errorf("v%d: %s, want %s", version, got, want)
		}
	}
	named.ElectionType = 2
	if got, want := describe(2, named), "-1 a-0:-1 a-1:-1 a-0:-1 b-7:-1 a-1:-1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	named.ElectionType = 0
	w.control.err = kerr.NotController
	if got, want := describe(2, named), "0 a-0:41 a-1:41 b-7:41"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The answer waits until this broker knows of the new leaders.
func TestElectLeadersAwaitsTheView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &electLeaders{view: cluster.NewView()}
		tps := []protocol.TopicPartition{{Topic: "a"}, {Topic: "a", Partition: 1}, {Topic: "a", Partition: 2}}
		results := []controller.ElectionResult{{Leader: 2}, {Err: kerr.ElectionNotNeeded}, {Leader: 3}}
		tell := func(partition, leader int32) {
			h.view.Apply(cluster.Update{Topics: []cluster.TopicUpdate{{Name: "a", Partitions: []cluster.Partition{{ID: partition, Leader: leader}}}}})
		}
		tell(0, 1)
		time.AfterFunc(time.Second, func() { tell(0, 2) })
		time.AfterFunc(3*time.Second, func() { tell(2, 3) })
		began := time.Now()
		h.await(t.Context(), 10*time.Second, tps, results)
		if took := time.Since(began); took != 3*time.Second || results[0].Err != nil || results[1].Err != kerr.ElectionNotNeeded || results[2].Err != nil {
			t.Errorf("after %v: %v", took, results)
		}
		results[0].Leader = 9
		h.await(t.Context(), time.Second, tps, results)
		if (codes{}).of(results[0].Err) != kerr.RequestTimedOut.Code || results[2].Err != nil {
			t.Errorf("%v", results)
		}
	})
}
