package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// told is what one broker was told since it was last asked.
type told struct {
	brokers string
	roles   map[string]string
	isNew   map[string]bool
	states  map[string]string
	stops   map[string]string
}

// fakeBrokers is the Sender of the tests: it checks what every request must hold,
// keeps what it says, and answers without errors unless told otherwise.
type fakeBrokers struct {
	t    testing.TB
	self int32

	mu          sync.Mutex
	told        map[int32]*told
	unreachable map[int32]bool
	failing     map[int32]map[string]int16 // partition → error code for its replica there
	epochs      map[int32]int64            // of the latest registrations
	gone        map[int32]bool             // those whose registration has ended
	requests    int
	knows       map[int32]*knowledge // what the running process of each broker knows
	leaders     map[leadership]int32 // that were ever told of
}

// leadership is one leader epoch of one partition.
type leadership struct {
	topic            protocol.TopicID
	partition, epoch int32
}

// knowledge is what a broker keeps of what it is told, as long as its process runs.
type knowledge struct {
	roles  map[string]string
	epochs map[string]int32 // leader epochs of roles
	states map[string]string
	ids    map[string]protocol.TopicID
	live   []int32
}

func newKnowledge() *knowledge {
	return &knowledge{roles: map[string]string{}, epochs: map[string]int32{}, states: map[string]string{}, ids: map[string]protocol.TopicID{}}
}

// registered says that a broker registered. The controller may be faster to say so,
// by the first request with that epoch.
func (f *fakeBrokers) registered(id int32, epoch int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begin(id, epoch)
}

// epochOf is the epoch of a broker's latest registration.
func (f *fakeBrokers) epochOf(id int32) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epochs[id]
}

func (f *fakeBrokers) begin(id int32, epoch int64) {
	if epoch <= f.epochs[id] {
		return
	}
	f.epochs[id], f.gone[id] = epoch, false
	if f.knows[id] == nil || id != f.self { // broker 1 keeps running through its sessions
		f.knows[id] = newKnowledge()
	}
}

func (f *fakeBrokers) Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if f.unreachable[to.Broker] {
		return nil, peer.ErrDisconnected
	}
	f.begin(to.Broker, brokerEpochOf(req))
	if f.gone[to.Broker] {
		return nil, peer.ErrDisconnected
	}
	f.requests++
	if to.Purpose != peer.FromController || to.Endpoint.Listener != "INTERNAL" || to.Endpoint.Host != fmt.Sprint("b", to.Broker) {
		f.t.Errorf("request to %v", to)
	}
	b := f.told[to.Broker]
	if b == nil {
		b = &told{roles: map[string]string{}, isNew: map[string]bool{}, states: map[string]string{}, stops: map[string]string{}}
		f.told[to.Broker] = b
	}
	switch r := req.(type) {
	case *kmsg.LeaderAndISRRequest:
		return f.leaderAndISR(to.Broker, b, r), nil
	case *kmsg.UpdateMetadataRequest:
		return f.updateMetadata(to.Broker, b, r), nil
	case *kmsg.StopReplicaRequest:
		return f.stopReplica(to.Broker, b, r), nil
	}
	f.t.Errorf("request %T", req)
	return nil, errors.New("unexpected request")
}

// replace forgets an earlier topic of the same name.
func (k *knowledge) replace(topic string, id protocol.TopicID) {
	if k.ids[topic] != id {
		k.ids[topic] = id
		maps.DeleteFunc(k.states, func(name, _ string) bool { return strings.HasPrefix(name, topic+"-") })
	}
}

func brokerEpochOf(req kmsg.Request) int64 {
	switch r := req.(type) {
	case *kmsg.LeaderAndISRRequest:
		return r.BrokerEpoch
	case *kmsg.UpdateMetadataRequest:
		return r.BrokerEpoch
	case *kmsg.StopReplicaRequest:
		return r.BrokerEpoch
	}
	return -1
}

func (f *fakeBrokers) header(to int32, controller int32, brokerEpoch int64, kraft bool) int16 {
	if controller != f.self || kraft {
		f.t.Errorf("request from controller %d, KRaft %v", controller, kraft)
	}
	if brokerEpoch < f.epochs[to] {
		return kerr.StaleBrokerEpoch.Code
	}
	return 0
}

func (f *fakeBrokers) leaderAndISR(id int32, b *told, r *kmsg.LeaderAndISRRequest) kmsg.Response {
	resp := kmsg.NewPtrLeaderAndISRResponse()
	resp.ErrorCode = f.header(id, r.ControllerID, r.BrokerEpoch, r.IsKRaftController)
	if r.Type != 0 {
		f.t.Errorf("LeaderAndIsr of type %d", r.Type)
	}
	if resp.ErrorCode != 0 {
		return resp
	}
	for _, topic := range r.TopicStates {
		answer := kmsg.NewLeaderAndISRResponseTopic()
		answer.TopicID = topic.TopicID
		for _, p := range topic.PartitionStates {
			name := fmt.Sprint(topic.Topic, "-", p.Partition)
			if string(topic.TopicID[:len(topic.Topic)]) != topic.Topic && !strings.HasPrefix(topic.Topic, "old") {
				f.t.Errorf("%s has topic id %q", name, topic.TopicID)
			}
			if !slices.Contains(p.Replicas, id) {
				f.t.Errorf("broker %d was told a role in %s, which it does not hold", id, name)
			}
			text := fmt.Sprintf("leader=%d epoch=%d isr=%s replicas=%s zv=%d", p.Leader, p.LeaderEpoch, joinIDs(p.ISR), joinIDs(p.Replicas), p.ZKVersion)
			at := leadership{topic.TopicID, p.Partition, p.LeaderEpoch}
			if other, known := f.leaders[at]; known && other != p.Leader {
				f.t.Errorf("%s has the leaders %d and %d in epoch %d", name, other, p.Leader, p.LeaderEpoch)
			}
			f.leaders[at] = p.Leader
			if p.LeaderRecoveryState != 0 {
				text += " recovering"
			}
			b.roles[name] = text
			k := f.knows[id]
			if old, known := k.epochs[name]; !known || p.LeaderEpoch >= old {
				k.roles[name], k.epochs[name] = fmt.Sprintf("leader=%d epoch=%d", p.Leader, p.LeaderEpoch), p.LeaderEpoch
			} else {
				f.t.Errorf("broker %d was told leader epoch %d of %s after %d", id, p.LeaderEpoch, name, old)
			}
			b.isNew[name] = b.isNew[name] || p.IsNew
			if slices.Contains(f.knows[id].live, p.Leader) && !slices.ContainsFunc(r.LiveLeaders, func(l kmsg.LeaderAndISRRequestLiveLeader) bool {
				return l.BrokerID == p.Leader && l.Host == fmt.Sprint("b", p.Leader) && l.Port == 9093
			}) {
				f.t.Errorf("leader %d of %s is not among the live leaders %v", p.Leader, name, r.LiveLeaders)
			}
			part := kmsg.NewLeaderAndISRResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, f.failing[id][name]
			answer.Partitions = append(answer.Partitions, part)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

func (f *fakeBrokers) updateMetadata(id int32, b *told, r *kmsg.UpdateMetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrUpdateMetadataResponse()
	resp.ErrorCode = f.header(id, r.ControllerID, r.BrokerEpoch, r.IsKRaftController)
	if resp.ErrorCode != 0 {
		return resp
	}
	var live []int32
	for _, broker := range r.LiveBrokers {
		live = append(live, broker.ID)
		if len(broker.Endpoints) != 2 || broker.Endpoints[0].ListenerName != "CLIENTS" || broker.Endpoints[0].SecurityProtocol != 3 || broker.Endpoints[1].SecurityProtocol != 0 {
			f.t.Errorf("endpoints of broker %d: %v", broker.ID, broker.Endpoints)
		}
	}
	f.knows[id].live = live
	b.brokers = fmt.Sprintf("brokers %s controller epoch %d", joinIDs(live), r.ControllerEpoch)
	for _, topic := range r.TopicStates {
		f.knows[id].replace(topic.Topic, topic.TopicID)
		for _, p := range topic.PartitionStates {
			text := fmt.Sprintf("leader=%d epoch=%d isr=%s zv=%d", p.Leader, p.LeaderEpoch, joinIDs(p.ISR), p.ZKVersion)
			if p.Leader == -2 {
				text = "deleted"
			} else if len(p.OfflineReplicas) > 0 {
				text += " offline=" + joinIDs(p.OfflineReplicas)
			}
			name := fmt.Sprint(topic.Topic, "-", p.Partition)
			b.states[name] = text
			f.knows[id].states[name] = text
			if p.Leader == -2 {
				delete(f.knows[id].states, name)
			}
		}
	}
	return resp
}

func (f *fakeBrokers) stopReplica(id int32, b *told, r *kmsg.StopReplicaRequest) kmsg.Response {
	resp := kmsg.NewPtrStopReplicaResponse()
	resp.ErrorCode = f.header(id, r.ControllerID, r.BrokerEpoch, r.IsKRaftController)
	for _, topic := range r.Topics {
		for _, p := range topic.PartitionStates {
			name := fmt.Sprint(topic.Topic, "-", p.Partition)
			if p.Delete && f.failing[id][name] == 0 && resp.ErrorCode == 0 {
				delete(f.knows[id].roles, name)
				delete(f.knows[id].epochs, name)
			}
			b.stops[name] = fmt.Sprintf("epoch=%d delete=%v", p.LeaderEpoch, p.Delete)
			part := kmsg.NewStopReplicaResponsePartition()
			part.Topic, part.Partition, part.ErrorCode = topic.Topic, p.Partition, f.failing[id][name]
			resp.Partitions = append(resp.Partitions, part)
		}
	}
	return resp
}

// drain describes what brokers were told since the last call.
func (f *fakeBrokers) drain() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for id, b := range f.told {
		say := func(kind int, format string, args ...any) {
			lines = append(lines, fmt.Sprintf("%d|%d|%d: ", id, kind, id)+fmt.Sprintf(format, args...))
		}
		if b.brokers != "" {
			say(0, "%s", b.brokers)
		}
		for name, text := range b.roles {
			if b.isNew[name] {
				text += " new"
			}
			say(1, "role %s %s", name, text)
		}
		for name, text := range b.states {
			say(2, "state %s %s", name, text)
		}
		for name, text := range b.stops {
			say(3, "stop %s %s", name, text)
		}
	}
	f.told = map[int32]*told{}
	slices.Sort(lines)
	for i, line := range lines {
		lines[i] = line[strings.LastIndex(line, "|")+1:]
	}
	if len(lines) == 0 {
		return "nothing"
	}
	return strings.Join(lines, "\n")
}
