package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/simnet"
	"github.com/gracchus-mq/gracchus/protocol"
)

// wire is a client's connection to a broker. It belongs to one goroutine.
type wire struct {
	process *simnet.Process
	conn    net.Conn // nil while there is none
	broker  int32
	id      int32
	pending []int32 // of requests that wait for their response
}

// Versions of requests: the last ones without tagged fields, and the first one of
// OffsetFetch that can require stable offsets.
const (
	wireProduce         = 8
	wireFetch           = 11
	wireListOffsets     = 5
	wireMetadata        = 8
	wireCreateTopics    = 4
	wireInitProducer    = 1
	wireFindCoordinator = 2
	wireJoinGroup       = 5
	wireSyncGroup       = 3
	wireHeartbeat       = 3
	wireLeaveGroup      = 3
	wireOffsetCommit    = 7
	wireOffsetFetch     = 7
	wireOffsetDelete    = 0
	wireDeleteGroups    = 1
)

// open connects to a broker, unless that is the one it is connected to.
func (w *wire) open(broker int32) error {
	if w.conn != nil && w.broker == broker {
		return nil
	}
	w.close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := w.process.Dial(ctx, memberAddress(int(broker)))
	if err != nil {
		return err
	}
	w.conn, w.broker = conn, broker
	return nil
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
	}
	w.conn, w.pending = nil, nil
}

func (w *wire) send(req kmsg.Request) error {
	w.id++
	w.pending = append(w.pending, w.id)
	_, err := w.conn.Write(protocol.EncodeRequest(nil, w.id, "simulated", req))
	return err
}

// receive reads the response to the oldest request that waits. resp has its version.
func (w *wire) receive(resp kmsg.Response, patience time.Duration) error {
	w.conn.SetReadDeadline(time.Now().Add(patience))
	frame, err := protocol.ReadFrame(w.conn, 64<<20, nil)
	if err != nil {
		return err
	}
	if id := w.pending[0]; len(frame) < 4 || int32(binary.BigEndian.Uint32(frame)) != id {
		return fmt.Errorf("the response to request %d begins with %x", id, frame[:min(4, len(frame))])
	}
	w.pending = w.pending[1:]
	body := frame[4:]
	if resp.IsFlexible() {
		body = body[1:] // no tagged fields
	}
	return resp.ReadFrom(body)
}

// ask sends a request and waits. After an error there is no connection.
func (w *wire) ask(broker int32, req kmsg.Request, version int16, patience time.Duration) (kmsg.Response, error) {
	req.SetVersion(version)
	resp := req.ResponseKind()
	resp.SetVersion(version)
	err := w.open(broker)
	if err == nil {
		err = w.send(req)
	}
	if err == nil {
		err = w.receive(resp, patience)
	}
	if err != nil {
		w.close()
	}
	return resp, err
}

// placed is who leads a partition, as a broker said.
type placed struct{ leader, epoch int32 }

// leaders asks a broker who leads which partition of the topic of the simulation.
func (w *wire) leaders(broker int32) ([]placed, error) { return w.leadersOf(broker, simTopic) }

// leadersOf is leaders for any topic that createSimTopic has made.
func (w *wire) leadersOf(broker int32, name string) ([]placed, error) {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, topic)
	answer, err := w.ask(broker, req, wireMetadata, 2*time.Second)
	if err != nil {
		return nil, err
	}
	t := answer.(*kmsg.MetadataResponse).Topics[0]
	if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
		return nil, err
	}
	found := make([]placed, simPartitions)
	for i := range found {
		found[i] = placed{-1, -1}
	}
	for _, p := range t.Partitions {
		found[p.Partition] = placed{p.Leader, p.LeaderEpoch}
	}
	return found, nil
}

// listEnds asks a broker where the partitions end of which epochs are told; −1 for those
// that it does not answer. again says that it knows of a later epoch than was told.
func (w *wire) listEnds(broker int32, epochs []int32) (ends []placedEnd, again bool, err error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = simTopic
	for p, epoch := range epochs {
		q := kmsg.NewListOffsetsRequestTopicPartition()
		q.Partition, q.Timestamp, q.CurrentLeaderEpoch = int32(p), -1, epoch
		topic.Partitions = append(topic.Partitions, q)
	}
	req.Topics = append(req.Topics, topic)
	answer, err := w.ask(broker, req, wireListOffsets, 2*time.Second)
	if err != nil {
		return nil, false, err
	}
	ends = make([]placedEnd, len(epochs))
	for _, p := range answer.(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		ends[p.Partition] = placedEnd{-1, -1}
		switch err := kerr.ErrorForCode(p.ErrorCode); {
		case err == nil:
			ends[p.Partition] = placedEnd{p.Offset, p.LeaderEpoch}
		case errors.Is(err, kerr.FencedLeaderEpoch):
			again = true
		}
	}
	return ends, again, nil
}

// placedEnd is where a partition ends, as its leader in that epoch said.
type placedEnd struct {
	offset int64
	epoch  int32
}

// coordinator asks a broker who coordinates a group.
func (w *wire) coordinator(broker int32, group string) (int32, error) {
	return w.coordinatorOf(broker, groupKey, group)
}

// Types of what has a coordinator.
const (
	groupKey int8 = iota
	transactionKey
)

func (w *wire) coordinatorOf(broker int32, kind int8, key string) (int32, error) {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey = kind, key
	answer, err := w.ask(broker, req, wireFindCoordinator, 2*time.Second)
	if err != nil {
		return 0, err
	}
	resp := answer.(*kmsg.FindCoordinatorResponse)
	return resp.NodeID, kerr.ErrorForCode(resp.ErrorCode)
}

// committed asks a broker what a group has committed for the topic of the simulation.
func (w *wire) committed(broker int32, group string) (*kmsg.OffsetFetchResponse, error) {
	answer, err := w.ask(broker, offsetFetch(group), wireOffsetFetch, 2*time.Second)
	if err != nil {
		return nil, err
	}
	return answer.(*kmsg.OffsetFetchResponse), nil
}

func offsetFetch(group string) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = group, true
	topic := kmsg.NewOffsetFetchRequestTopic()
	topic.Topic = simTopic
	for p := range int32(simPartitions) {
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// createSimTopic makes a topic of which every broker has a replica of each partition. Of
// three brokers, p+1 leads partition p.
func createSimTopic(w *wire, name string, brokers int32, configs map[string]string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
	for p := range int32(simPartitions) {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition = p
		for i := range brokers {
			a.Replicas = append(a.Replicas, 1+(p+i)%brokers)
		}
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	}
	for name, value := range configs {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	req.Topics = append(req.Topics, topic)
	for broker := range brokers { // one of them is the controller
		resp, err := w.ask(broker+1, req, wireCreateTopics, 15*time.Second)
		if err == nil {
			err = kerr.ErrorForCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
		}
		if !errors.Is(err, kerr.NotController) {
			return err
		}
	}
	return kerr.NotController
}
