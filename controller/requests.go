package controller

import (
	"cmp"
	"slices"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sender's identity, in the header of every request to a broker.
type identity struct {
	controllerID    int32
	controllerEpoch int32
}

// brokerSet is who lives, as requests say it. It is immutable and shared by all
// outboxes.
type brokerSet struct {
	live    []kmsg.UpdateMetadataRequestLiveBroker
	leaders map[int32]kmsg.LeaderAndISRRequestLiveLeader // by inter-broker listener
}

// newBrokerSet lists brokers with all their endpoints. A broker without the
// inter-broker listener cannot be followed, so it is no live leader.
func newBrokerSet(brokers []zkmeta.LiveBroker, interBroker string) *brokerSet {
	set := &brokerSet{leaders: make(map[int32]kmsg.LeaderAndISRRequestLiveLeader, len(brokers))}
	for _, b := range brokers {
		live := kmsg.NewUpdateMetadataRequestLiveBroker()
		live.ID = b.ID
		if b.Rack != "" {
			live.Rack = &b.Rack
		}
		for _, e := range b.Endpoints {
			endpoint := kmsg.NewUpdateMetadataRequestLiveBrokerEndpoint()
			endpoint.Host, endpoint.Port, endpoint.ListenerName = e.Host, e.Port, e.Listener
			endpoint.SecurityProtocol = securityProtocolID(e.SecurityProtocol)
			live.Endpoints = append(live.Endpoints, endpoint)
			if e.Listener == interBroker {
				leader := kmsg.NewLeaderAndISRRequestLiveLeader()
				leader.BrokerID, leader.Host, leader.Port = b.ID, e.Host, e.Port
				set.leaders[b.ID] = leader
			}
		}
		set.live = append(set.live, live)
	}
	return set
}

// securityProtocolID is the number of a protocol in requests.
func securityProtocolID(name string) int16 {
	return int16(max(0, slices.Index([]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, name)))
}

// request makes the request that delivers a parcel to a broker.
func (p parcel) request(from identity, brokerEpoch int64, brokers *brokerSet) kmsg.Request {
	switch p.kind {
	case kindLeaderAndISR:
		return p.leaderAndISR(from, brokerEpoch, brokers)
	case kindStop:
		return p.stopReplica(from, brokerEpoch)
	default:
		return p.updateMetadata(from, brokerEpoch, brokers)
	}
}

// leaderAndISR leaves Type 0: full and incremental requests exist under KRaft only.
func (p parcel) leaderAndISR(from identity, brokerEpoch int64, brokers *brokerSet) kmsg.Request {
	req := kmsg.NewPtrLeaderAndISRRequest()
	req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = from.controllerID, from.controllerEpoch, brokerEpoch
	byTopic := map[string]int{}
	for _, e := range p.roles {
		r := e.value
		i, seen := byTopic[r.Topic]
		if !seen {
			i = len(req.TopicStates)
			byTopic[r.Topic] = i
			topic := kmsg.NewLeaderAndISRRequestTopicState()
			topic.Topic, topic.TopicID = r.Topic, r.topicID
			req.TopicStates = append(req.TopicStates, topic)
		}
		state := kmsg.NewLeaderAndISRRequestTopicPartition()
		state.Partition = r.Partition
		state.ControllerEpoch = r.state.ControllerEpoch
		state.Leader, state.LeaderEpoch, state.ISR = r.state.Leader, r.state.LeaderEpoch, r.state.ISR
		state.ZKVersion = r.zkVersion
		state.Replicas = r.assignment.Replicas
		state.AddingReplicas, state.RemovingReplicas = r.assignment.Adding, r.assignment.Removing
		state.IsNew = r.isNew
		if r.state.Recovering {
			state.LeaderRecoveryState = 1
		}
		req.TopicStates[i].PartitionStates = append(req.TopicStates[i].PartitionStates, state)
		if leader, live := brokers.leaders[r.state.Leader]; live && !hasLeader(req.LiveLeaders, leader.BrokerID) {
			req.LiveLeaders = append(req.LiveLeaders, leader)
		}
	}
	return req
}

func hasLeader(leaders []kmsg.LeaderAndISRRequestLiveLeader, id int32) bool {
	return slices.ContainsFunc(leaders, func(l kmsg.LeaderAndISRRequestLiveLeader) bool { return l.BrokerID == id })
}

// updateMetadata says who lives, and the states of the parcel's partitions.
func (p parcel) updateMetadata(from identity, brokerEpoch int64, brokers *brokerSet) kmsg.Request {
	req := kmsg.NewPtrUpdateMetadataRequest()
	req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = from.controllerID, from.controllerEpoch, brokerEpoch
	req.LiveBrokers = brokers.live
	byTopic := map[protocol.TopicID]map[string]int{}
	for _, e := range p.states {
		n := e.value
		if byTopic[n.topicID] == nil {
			byTopic[n.topicID] = map[string]int{}
		}
		i, seen := byTopic[n.topicID][n.Topic]
		if !seen {
			i = len(req.TopicStates)
			byTopic[n.topicID][n.Topic] = i
			topic := kmsg.NewUpdateMetadataRequestTopicState()
			topic.Topic, topic.TopicID = n.Topic, n.topicID
			req.TopicStates = append(req.TopicStates, topic)
		}
		state := kmsg.NewUpdateMetadataRequestTopicPartition()
		state.Partition = n.Partition
		state.ControllerEpoch = n.state.ControllerEpoch
		state.ISR, state.Replicas, state.OfflineReplicas = n.state.ISR, n.assignment.Replicas, n.offline
		if n.deleting {
			state.Leader = cluster.LeaderDeleting
		} else {
			state.Leader, state.LeaderEpoch, state.ZKVersion = n.state.Leader, n.state.LeaderEpoch, n.zkVersion
		}
		req.TopicStates[i].PartitionStates = append(req.TopicStates[i].PartitionStates, state)
	}
	return req
}

func (p parcel) stopReplica(from identity, brokerEpoch int64) kmsg.Request {
	req := kmsg.NewPtrStopReplicaRequest()
	req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = from.controllerID, from.controllerEpoch, brokerEpoch
	byTopic := map[string]int{}
	for _, e := range p.stops {
		i, seen := byTopic[e.key.Topic]
		if !seen {
			i = len(req.Topics)
			byTopic[e.key.Topic] = i
			topic := kmsg.NewStopReplicaRequestTopic()
			topic.Topic = e.key.Topic
			req.Topics = append(req.Topics, topic)
		}
		state := kmsg.NewStopReplicaRequestTopicPartitionState()
		state.Partition, state.LeaderEpoch, state.Delete = e.key.Partition, e.value.leaderEpoch, e.value.remove
		req.Topics[i].PartitionStates = append(req.Topics[i].PartitionStates, state)
	}
	return req
}

// receipt is what a broker answered to one parcel.
type receipt struct {
	broker int32
	epoch  int64 // of the registration the parcel was sent to
	term   int32 // controller epoch in which it was sent
	code   int16 // for the whole request
	roles  map[protocol.TopicPartition]int16
	stops  map[protocol.TopicPartition]int16 // of removals only; a replica without entry is not removed
}

// read takes the answers to a parcel's partitions out of a response.
func (p parcel) read(broker int32, epoch int64, term int32, resp kmsg.Response) receipt {
	r := receipt{broker: broker, epoch: epoch, term: term}
	switch resp := resp.(type) {
	case *kmsg.UpdateMetadataResponse:
		r.code = resp.ErrorCode
	case *kmsg.LeaderAndISRResponse:
		r.code = resp.ErrorCode
		names := make(map[protocol.TopicID]string)
		for _, e := range p.roles {
			names[e.value.topicID] = e.key.Topic
		}
		r.roles = make(map[protocol.TopicPartition]int16, len(p.roles))
		for _, topic := range resp.Topics {
			name, known := names[topic.TopicID]
			if !known {
				continue
			}
			for _, part := range topic.Partitions {
				r.roles[protocol.TopicPartition{Topic: name, Partition: part.Partition}] = part.ErrorCode
			}
		}
	case *kmsg.StopReplicaResponse:
		r.code = resp.ErrorCode
		answers := make(map[protocol.TopicPartition]int16, len(resp.Partitions))
		for _, part := range resp.Partitions {
			answers[protocol.TopicPartition{Topic: part.Topic, Partition: part.Partition}] = part.ErrorCode
		}
		r.stops = make(map[protocol.TopicPartition]int16, len(p.stops))
		for _, e := range p.stops {
			code, answered := answers[e.key]
			if !answered || r.code != 0 {
				code = cmp.Or(r.code, int16(-1))
			}
			if e.value.remove {
				r.stops[e.key] = code
			}
		}
	}
	return r
}
