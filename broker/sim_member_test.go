package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// simMember is a member of a group. It reads nothing, and commits as if it did.
//
// It sends one request at a time. When a commit is not answered it joins again before it
// commits more: in the network a request may outlive its connection, and in another
// generation it counts no more.
type simMember struct {
	g           *simGroup
	number      int
	rnd         *rand.Rand
	wire        wire
	coordinator int32 // 0 while it is not known
	asked       question

	id         string
	generation int32
	joined     int32 // the reign in which it was told of its generation
	before     int32 // the generation before, in which it had the same id, or noGeneration
	leader     string
	others     []string // all members, if it leads
	protocol   string
	again      byte // changes when the group has to rebalance
	owned      []int32
	position   [simPartitions]int64

	told   simMembership // guarded by the group's mutex
	failed map[string]int
	calm   atomic.Bool // it neither leaves nor has the group rebalance
}

// simMembership is what others want to know of a member.
type simMembership struct {
	generation int32
	owned      int
	beat       time.Time // when it heard last that it belongs to the generation
}

const (
	simMemberSession   = 4 * time.Second
	simMemberRebalance = 3 * time.Second
	// simGroupLimit is within which time a group is stable when all is well.
	simGroupLimit = simMemberSession + simMemberRebalance + 5*time.Second
)

func newSimMember(g *simGroup, number int) *simMember {
	return &simMember{g: g, number: number, rnd: g.s.random(5000 + 100*uint64(g.home.Partition) + uint64(number)), wire: wire{process: g.s.clients}, failed: map[string]int{}}
}

func (m *simMember) name() string { return fmt.Sprintf("%s-%d", m.g.name, m.number) }

// run is the member's life until stop is closed. Then it is silent.
func (m *simMember) run(stop <-chan struct{}) {
	defer m.wire.close()
	for !closed(stop) {
		err := m.join()
		if err == nil {
			err = m.sync()
		}
		if err == nil {
			err = m.resume(stop)
		}
		if err == nil {
			m.late()
			err = m.work(stop)
		}
		if err != nil {
			m.failed[err.Error()]++
			if errors.Is(err, kerr.UnknownMemberID) {
				m.id = ""
			}
			if !errors.Is(err, kerr.MemberIDRequired) && !errors.Is(err, kerr.RebalanceInProgress) {
				m.pause(100 * time.Millisecond)
			}
		}
	}
}

func (m *simMember) pause(average time.Duration) {
	time.Sleep(time.Duration(m.rnd.ExpFloat64() * float64(average)))
}

// errUnanswered is wrapped when a request was sent and not answered.
var errUnanswered = errors.New("not answered")

// ask asks the coordinator, which it looks for if it does not know it.
func (m *simMember) ask(req kmsg.Request, version int16, patience time.Duration) (kmsg.Response, error) {
	if m.coordinator == 0 {
		found, err := m.wire.coordinator(1+m.rnd.Int32N(3), m.g.name)
		if err != nil {
			return nil, err
		}
		m.coordinator = found
	}
	if err := m.wire.open(m.coordinator); err != nil {
		m.coordinator = 0
		return nil, err
	}
	m.asked = m.g.ask(m.coordinator)
	resp, err := m.wire.ask(m.coordinator, req, version, patience)
	if err != nil {
		m.coordinator = 0
		return nil, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	return resp, nil
}

// explain is the error of a code. After some the coordinator is looked for again.
func (m *simMember) explain(code int16) error {
	err := kerr.ErrorForCode(code)
	if err == kerr.NotCoordinator || err == kerr.CoordinatorNotAvailable {
		m.coordinator = 0
	}
	return err
}

func (m *simMember) join() error {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = m.g.name, m.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(simMemberSession.Milliseconds()), int32(simMemberRebalance.Milliseconds())
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Topics, subscription.UserData = []string{simTopic}, []byte{m.again}
	for _, name := range []string{"one", "other"} {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, subscription.AppendTo(nil)
		req.Protocols = append(req.Protocols, p)
	}
	answer, err := m.ask(req, wireJoinGroup, simMemberRebalance+3*time.Second)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.JoinGroupResponse)
	if err := m.explain(resp.ErrorCode); err != nil {
		if err == kerr.MemberIDRequired {
			m.id = resp.MemberID
		}
		return err
	}
	m.before = noGeneration
	if m.id == resp.MemberID && m.generation < resp.Generation {
		m.before = m.generation
	}
	m.id, m.generation, m.leader, m.protocol, m.others = resp.MemberID, resp.Generation, resp.LeaderID, *resp.Protocol, nil
	for _, other := range resp.Members {
		m.others = append(m.others, other.MemberID)
	}
	m.joined = m.g.joined(m.asked, resp.Generation)
	return nil
}

// sync has its assignment told.
func (m *simMember) sync() error {
	resp, err := m.askToSync()
	if err != nil {
		return err
	}
	m.owned = nil
	if len(resp.MemberAssignment) > 0 { // else the leader did not know of it
		var a kmsg.ConsumerMemberAssignment
		if err := a.ReadFrom(resp.MemberAssignment); err != nil {
			m.g.s.seen.bad("%s was assigned %x: %v", m.name(), resp.MemberAssignment, err)
			return err
		}
		for _, t := range a.Topics {
			m.owned = append(m.owned, t.Partitions...)
		}
	}
	if !m.g.synced(m.asked, m.joined, m.generation, m.leader, m.id, m.owned) {
		m.before = noGeneration
	}
	m.belongs()
	return nil
}

// askToSync assigns, too, if the member leads.
func (m *simMember) askToSync() (*kmsg.SyncGroupResponse, error) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = m.g.name, m.id, m.generation
	if m.leader == m.id {
		req.GroupAssignment = m.assign()
	}
	answer, err := m.ask(req, wireSyncGroup, simMemberRebalance+3*time.Second)
	if err != nil {
		return nil, err
	}
	resp := answer.(*kmsg.SyncGroupResponse)
	return resp, m.explain(resp.ErrorCode)
}

// assign deals the partitions to the members.
func (m *simMember) assign() (all []kmsg.SyncGroupRequestGroupAssignment) {
	slices.Sort(m.others)
	m.rnd.Shuffle(len(m.others), func(i, j int) { m.others[i], m.others[j] = m.others[j], m.others[i] })
	for i, id := range m.others {
		assignment := kmsg.NewConsumerMemberAssignment()
		topic := kmsg.NewConsumerMemberAssignmentTopic()
		topic.Topic = simTopic
		for p := int32(i); p < simPartitions; p += int32(len(m.others)) {
			topic.Partitions = append(topic.Partitions, p)
		}
		assignment.Topics = append(assignment.Topics, topic)
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = id, assignment.AppendTo(nil)
		all = append(all, a)
	}
	return all
}

// belongs notes that the member has just heard that it belongs to its generation.
func (m *simMember) belongs() {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	m.told = simMembership{m.generation, len(m.owned), time.Now()}
}

// resume asks where to go on, until that is stable.
func (m *simMember) resume(stop <-chan struct{}) error {
	for !closed(stop) {
		answer, err := m.ask(offsetFetch(m.g.name), wireOffsetFetch, 3*time.Second)
		if err != nil {
			return err
		}
		resp := answer.(*kmsg.OffsetFetchResponse)
		if err := m.explain(resp.ErrorCode); err != nil {
			return err
		}
		m.g.fetchedAll(m.asked, resp)
		switch err := fetchError(resp); {
		case err == nil:
			for _, p := range resp.Topics[0].Partitions {
				m.position[p.Partition] = max(p.Offset, 0)
			}
			return nil
		case err != kerr.UnstableOffsetCommit:
			return err
		}
		m.pause(50 * time.Millisecond)
	}
	return nil
}

// noGeneration is what there was before the first.
const noGeneration = -1

// late has a request come that belongs to the generation before, at times, as one would
// that was held up. No coordinator that knows of the generation that has been stored since
// may accept it. What comes of it otherwise does not matter.
func (m *simMember) late() {
	if m.before == noGeneration {
		return
	}
	defer func(now int32) { m.generation = now }(m.generation)
	m.generation = m.before
	var what string
	var err error
	switch m.rnd.IntN(6) {
	case 0:
		if len(m.owned) == 0 {
			return // and would commit nothing
		}
		what, err = "commit", m.commit()
	case 1:
		what = "sync"
		_, err = m.askToSync()
	case 2:
		what, err = "heartbeat", m.heartbeat()
	default:
		return
	}
	if err == nil && m.g.answered(m.asked, what) >= m.joined {
		m.g.s.seen.bad("%s: broker %d has accepted a late %s of generation %d", m.name(), m.asked.broker, what, m.before)
	}
}

// work commits and sends heartbeats until it has to join again.
func (m *simMember) work(stop <-chan struct{}) error {
	for {
		m.pause(250 * time.Millisecond)
		if closed(stop) {
			return nil
		}
		if !m.calm.Load() {
			switch m.rnd.IntN(80) {
			case 0:
				return m.leave()
			case 1: // its process is gone, and another comes
				m.wire.close()
				m.id = ""
				return nil
			case 2:
				m.again++
				return nil
			}
		}
		commits := m.rnd.IntN(3) > 0
		var err error
		if commits {
			err = m.commit()
		} else {
			err = m.heartbeat()
		}
		switch {
		case err == nil:
		case errors.Is(err, kerr.RebalanceInProgress) && !commits && m.rnd.IntN(2) == 0:
			if m.unknown(m.commit()) {
				m.again++
			}
			return err
		case m.unknown(err) && commits:
			m.again++
			return err
		case m.unknown(err), kerr.IsRetriable(err) && !errors.Is(err, kerr.RebalanceInProgress):
			m.failed[err.Error()]++
		default:
			return err
		}
	}
}

// unknown says whether it is not known what came of a request.
func (m *simMember) unknown(err error) bool {
	var lost net.Error
	return errors.Is(err, errUnanswered) || errors.As(err, &lost)
}

func (m *simMember) heartbeat() error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = m.g.name, m.id, m.generation
	answer, err := m.ask(req, wireHeartbeat, 3*time.Second)
	if err != nil {
		return err
	}
	if err := m.explain(answer.(*kmsg.HeartbeatResponse).ErrorCode); err != nil {
		return err
	}
	m.g.answered(m.asked, "heartbeat")
	m.belongs()
	return nil
}

// commit commits the next offset of each partition that it owns.
func (m *simMember) commit() error {
	if len(m.owned) == 0 {
		return nil
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = m.g.name, m.id, m.generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = simTopic
	serials := map[int32]int{}
	for _, p := range m.owned {
		m.position[p]++
		serials[p] = m.g.sends(p, m.position[p])
		partition := kmsg.NewOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset, partition.Metadata = p, m.position[p], kmsg.StringPtr(strconv.Itoa(serials[p]))
		topic.Partitions = append(topic.Partitions, partition)
	}
	req.Topics = append(req.Topics, topic)
	answer, err := m.ask(req, wireOffsetCommit, 3*time.Second)
	if err != nil {
		return err
	}
	var failed error
	for _, p := range answer.(*kmsg.OffsetCommitResponse).Topics[0].Partitions {
		if err := m.explain(p.ErrorCode); err != nil {
			failed = err
			continue
		}
		m.g.acknowledged(m.asked, p.Partition, serials[p.Partition])
	}
	return failed
}

func (m *simMember) leave() error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = m.g.name
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = m.id
	req.Members = append(req.Members, member)
	_, err := m.ask(req, wireLeaveGroup, 3*time.Second)
	m.id = ""
	m.pause(500 * time.Millisecond)
	return err
}
