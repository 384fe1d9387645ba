package api

import (
	"fmt"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
)

func TestAllocateProducerIDs(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = 1, 30
	if r := call[*kmsg.AllocateProducerIDsResponse](w, 0, req); r.ErrorCode != 0 || r.ProducerIDStart != 5000 || r.ProducerIDLen != 1000 {
		t.Errorf("%+v", r)
	}
	req.BrokerEpoch = 29
	if r := call[*kmsg.AllocateProducerIDsResponse](w, 0, req); r.ErrorCode != kerr.StaleBrokerEpoch.Code || r.ProducerIDStart != 0 {
		t.Errorf("%+v", r)
	}
}

// Controllers of the past are refused, with an entry for every partition.
func TestStaleControllers(t *testing.T) {
	w := newWorld(t) // has heard of controller epoch 3; its broker epoch is 30
	w.lead("t", 1, 0)
	for _, tt := range []struct {
		controller int32
		broker     int64
		want       int16
	}{{2, 30, kerr.StaleControllerEpoch.Code}, {3, 29, kerr.StaleBrokerEpoch.Code}, {3, -1, 0}, {3, 31, 0}} {
		update := kmsg.NewPtrUpdateMetadataRequest()
		update.ControllerID, update.ControllerEpoch, update.BrokerEpoch = 1, tt.controller, tt.broker
		if r := call[*kmsg.UpdateMetadataResponse](w, 8, update); r.ErrorCode != tt.want {
			t.Errorf("UpdateMetadata %+v: %d", tt, r.ErrorCode)
		}
		roles := kmsg.NewPtrLeaderAndISRRequest()
		roles.ControllerEpoch, roles.BrokerEpoch = tt.controller, tt.broker
		roles.TopicStates = []kmsg.LeaderAndISRRequestTopicState{{Topic: "t", TopicID: topicID("t"), PartitionStates: []kmsg.LeaderAndISRRequestTopicPartition{{Leader: 1, LeaderEpoch: 0, Replicas: []int32{1}, ISR: []int32{1}}}}}
		roles.PartitionStates = []kmsg.LeaderAndISRRequestTopicPartition{{Topic: "t", Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}}
		for _, version := range []int16{2, 4, 5, 7} {
			r := call[*kmsg.LeaderAndISRResponse](w, version, roles)
			entries := r.Partitions
			if version >= 5 {
				entries = r.Topics[0].Partitions
			}
			want := tt.want
			if want == 0 {
				want = kerr.StaleControllerEpoch.Code // the leader epoch is known already
			}
			if r.ErrorCode != tt.want || len(entries) != 1 || entries[0].ErrorCode != want {
				t.Errorf("LeaderAndIsr v%d %+v: %+v", version, tt, r)
			}
		}
		stop := kmsg.NewPtrStopReplicaRequest()
		stop.ControllerEpoch, stop.BrokerEpoch = tt.controller, tt.broker
		stop.Topics = []kmsg.StopReplicaRequestTopic{{Topic: "t", Partitions: []int32{0}, PartitionStates: []kmsg.StopReplicaRequestTopicPartitionState{{LeaderEpoch: 0}}}}
		for version := int16(1); version <= 4; version++ {
			r := call[*kmsg.StopReplicaResponse](w, version, stop)
			if r.ErrorCode != tt.want || len(r.Partitions) != 1 || r.Partitions[0].ErrorCode != tt.want {
				t.Errorf("StopReplica v%d %+v: %+v", version, tt, r)
			}
		}
	}
}

// The controller's older versions say the same in other words.
func TestOldControllers(t *testing.T) {
	w := newWorld(t)
	for version := int16(0); version <= 8; version++ {
		name := fmt.Sprintf("t%d", version)
		state := kmsg.UpdateMetadataRequestTopicPartition{Topic: name, Partition: 0, Leader: 1, LeaderEpoch: 4, Replicas: []int32{1}, ISR: []int32{1}}
		req := kmsg.NewPtrUpdateMetadataRequest()
		req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = 1, 3, -1
		req.PartitionStates = []kmsg.UpdateMetadataRequestTopicPartition{state}
		req.TopicStates = []kmsg.UpdateMetadataRequestTopicState{{Topic: name, PartitionStates: req.PartitionStates}}
		b := kmsg.NewUpdateMetadataRequestLiveBroker()
		b.ID, b.Host, b.Port = 1, "h", 5
		b.Endpoints = []kmsg.UpdateMetadataRequestLiveBrokerEndpoint{{ListenerName: "PLAINTEXT", Host: "h", Port: 5}}
		req.LiveBrokers = []kmsg.UpdateMetadataRequestLiveBroker{b}
		call[*kmsg.UpdateMetadataResponse](w, version, req)
		s := w.view.Snapshot()
		p, ok := s.Partition(protocol.TopicPartition{Topic: name})
		if !ok || p.LeaderEpoch != 4 {
			t.Errorf("UpdateMetadata v%d: %+v", version, p)
		}
		broker, _ := s.Broker(1)
		if e, ok := broker.Endpoint("PLAINTEXT"); !ok || e.Host != "h" || e.Port != 5 {
			t.Errorf("UpdateMetadata v%d: %+v", version, broker)
		}
	}
	w.update(8)
	for version := int16(0); version <= 4; version++ {
		name := fmt.Sprintf("s%d", version)
		w.lead(name, 1, 0)
		stop := kmsg.NewPtrStopReplicaRequest()
		stop.ControllerEpoch, stop.BrokerEpoch, stop.DeletePartitions = 3, 30, true
		stop.Topics = []kmsg.StopReplicaRequestTopic{{Topic: name, Partitions: []int32{0}, PartitionStates: []kmsg.StopReplicaRequestTopicPartitionState{{LeaderEpoch: -2, Delete: true}}}}
		if r := call[*kmsg.StopReplicaResponse](w, version, stop); r.ErrorCode != 0 || len(r.Partitions) != 1 || r.Partitions[0].Topic != name || r.Partitions[0].ErrorCode != 0 {
			t.Errorf("StopReplica v%d: %+v", version, r)
		}
		if _, here := w.store.Log(protocol.TopicPartition{Topic: name}); here {
			t.Errorf("StopReplica v%d: the log is still there", version)
		}
	}
}

// TestOvertakenController: what a controller sent over a connection that it has replaced
// is refused when it comes, however late. A new controller begins anew.
func TestOvertakenController(t *testing.T) {
	w := newWorld(t)
	first := w.dial(w.brokers)
	defer first.Close()
	versions := func(c net.Conn) { // the connection is accepted once it has answered
		req := kmsg.NewPtrApiVersionsRequest()
		w.send(c, req, 0)
		w.receive(c, req)
	}
	versions(first)
	second := w.dial(w.brokers)
	defer second.Close()
	send := func(c net.Conn, epoch, broker int32) int16 {
		req := kmsg.NewPtrUpdateMetadataRequest()
		req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = self, epoch, -1
		b := kmsg.NewUpdateMetadataRequestLiveBroker()
		b.ID = broker
		req.LiveBrokers = []kmsg.UpdateMetadataRequestLiveBroker{b}
		w.send(c, req, 8)
		return w.receive(c, req).(*kmsg.UpdateMetadataResponse).ErrorCode
	}
	for i, tt := range []struct {
		conn          net.Conn
		epoch, broker int32
		want          int16
		alive         int32
	}{
		{first, 3, 5, 0, 5},
		{second, 3, 6, 0, 6},
		{first, 3, 5, kerr.StaleControllerEpoch.Code, 6},
		{second, 3, 7, 0, 7},
		{first, 4, 8, 0, 8},
		{second, 3, 7, kerr.StaleControllerEpoch.Code, 8},
		{second, 4, 9, 0, 9},
	} {
		got := send(tt.conn, tt.epoch, tt.broker)
		if _, alive := w.view.Snapshot().Broker(tt.alive); got != tt.want || !alive {
			t.Errorf("step %d: code %d, want %d; broker %d alive: %v", i, got, tt.want, tt.alive, alive)
		}
	}
}
