package group

import (
	"math"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
)

// State is what a group of the classic protocol is in.
type State int8

const (
	Empty               State = iota // no members; perhaps offsets
	PreparingRebalance               // members are to join
	CompletingRebalance              // they have joined, and wait for the leader's assignment
	Stable                           // they have their assignments
	Dead                             // the group is not here any more
)

// String returns Kafka's name of the state.
func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

// classicGroup is one group of the classic protocol: its members, its generation and
// its offsets.
//
// It is a pure state machine. A step takes the time, an event and an effects, to which
// it adds what has to be done; it reads no clock, waits for nothing and calls nobody.
// Timers are deadlines in the state: wake is the time at which tick is due.
//
// It is not safe for concurrent use; see hosted.
type classicGroup struct {
	id     string
	limits *Limits

	state   State
	stateMS int64 // time of the last transition, in ms since 1970; −1 if it is not known

	protocolType string // "" until the group has had a member
	protocol     string // of the generation; means nothing without members
	generation   int32
	leader       string // a member's id, "" without members
	subscribed   topicSet

	members []*member // in the order in which they came
	byID    map[string]*member
	static  map[string]*member   // by instance id
	pending map[string]time.Time // ids that were given out, and when they expire
	joining int                  // members with a parked join

	barrier      barrier     // in PreparingRebalance
	syncDeadline time.Time   // members that have not synced by then are removed; zero is none
	storing      *groupWrite // the assignments that are on their way to the log, if any
	wake         time.Time   // when tick is due at the latest; zero is never

	offsets  offsetTable
	inFlight map[protocol.TopicPartition]inFlight // nil between large commits
	commits  uint64                               // how many have been sent to the log
	// transactions are offsets that become valid when their producer commits, by
	// producer id.
	transactions map[int64]*openTransaction

	takes footprint // what the group takes in memory
	room  int       // by how many bytes a step may have it grow: said before each
}

// newClassicGroup returns a group without members, generation and offsets.
func newClassicGroup(id string, limits *Limits, now time.Time) *classicGroup {
	return &classicGroup{
		id:      id,
		limits:  limits,
		stateMS: now.UnixMilli(),
		byID:    map[string]*member{},
		static:  map[string]*member{},
		pending: map[string]time.Time{},
		takes:   groupFootprint + footprint(len(id)),
		room:    math.MaxInt,
	}
}

func (g *classicGroup) transition(to State, now time.Time) {
	g.state = to
	g.stateMS = now.UnixMilli()
}

// setDeadline sets a deadline of the state, and sees that tick is not later.
func (g *classicGroup) setDeadline(d *time.Time, at time.Time) {
	*d = at
	g.wakeAt(at)
}

func (g *classicGroup) wakeAt(at time.Time) {
	if g.wake.IsZero() || at.Before(g.wake) {
		g.wake = at
	}
}

// supports reports whether a member with such protocols can be in the group. One that
// rejoins counts with what it listed before.
func (g *classicGroup) supports(protocolType string, protocols []Protocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == g.protocolType && slices.ContainsFunc(protocols, func(p Protocol) bool { return g.allList(p.Name) })
}

func (g *classicGroup) allList(protocol string) bool {
	for _, m := range g.members {
		if !m.lists(protocol) {
			return false
		}
	}
	return true
}

// selectProtocol is the protocol, of those that all members list, that most of them
// list first; among equals the one that the first member prefers. There is always
// one, since who joins has to list one.
func (g *classicGroup) selectProtocol() string {
	var candidates []string // one that is listed twice is voted for where it stands first
	for _, p := range g.members[0].protocols {
		if g.allList(p.Name) {
			candidates = append(candidates, p.Name)
		}
	}
	votes := make([]int, len(candidates))
	best := 0
	for _, m := range g.members {
		for _, p := range m.protocols {
			if i := slices.Index(candidates, p.Name); i >= 0 {
				votes[i]++
				break
			}
		}
	}
	for i, n := range votes {
		if n > votes[best] {
			best = i
		}
	}
	return candidates[best]
}

// subscriptions returns the topics that the members have subscribed to with the
// protocol of the generation. They are known of consumers only, and only if all of
// their metadata can be read.
func (g *classicGroup) subscriptions() topicSet {
	if g.protocolType != consumerProtocolType {
		return nil
	}
	topics := topicSet{}
	for _, m := range g.members {
		if !topics.addSubscription(m.metadata(g.protocol)) {
			return nil
		}
	}
	return topics
}

// maxRebalanceTimeout is the longest that a member of the group may take to rejoin.
func (g *classicGroup) maxRebalanceTimeout() (longest time.Duration) {
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}
