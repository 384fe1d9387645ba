package broker

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/statelog"
)

// simGroupNames are the groups of the simulation, in partitions 0 and 1 of
// __consumer_offsets.
var simGroupNames = []string{"c", "a"}

// simGroup is a consumer group and what everybody was told of it. Who coordinates it is
// known by the epoch in which the coordinator leads: its reign. An answer counts against
// those that were given in the same reign or an earlier one before it was asked for. A
// coordinator that has been replaced, and cannot know, tells what was so in its reign, as
// Kafka's does; nothing that it accepts is acknowledged.
type simGroup struct {
	s       *simulation
	name    string
	home    protocol.TopicPartition // its partition of __consumer_offsets
	members []*simMember

	mu          sync.Mutex
	sent        [simPartitions][]int64 // the offsets that were sent to be committed
	acks        [simPartitions][]ack
	told        []toldGeneration
	generations map[int32]*simGeneration
	answers     int
}

// ack is an acknowledged commit. It names its serial: the number of those that were sent
// for the partition before it.
type ack struct {
	reign  int32 // noReign if it is not known
	serial int
}

const noReign = -1

// toldGeneration is a generation that a member was told of when it joined or synced.
type toldGeneration struct {
	reign, generation int32
	stored            bool // a later coordinator has to know of it
}

// simGeneration is a generation as its members were told of it when they synced.
type simGeneration struct {
	reign  int32
	stored bool
	leader string
	owners [simPartitions]string
}

func newSimGroup(s *simulation, name string, members int) *simGroup {
	g := &simGroup{
		s: s, name: name, generations: map[int32]*simGeneration{},
		home: protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic, Partition: statelog.PartitionFor(name, simOffsetsPartitions)},
	}
	for i := range members {
		g.members = append(g.members, newSimMember(g, i))
	}
	return g
}

// startGroups has the members of all groups live until they are silenced, and others ask
// about the groups until stop is closed.
func (s *simulation) startGroups(stop <-chan struct{}) (silence func()) {
	var members sync.WaitGroup
	quiet := make(chan struct{})
	for i, g := range s.groups {
		for _, m := range g.members {
			members.Go(func() { m.run(quiet) })
		}
		s.running.Go(func() { g.observe(6000+uint64(i), stop) })
	}
	return func() {
		close(quiet)
		members.Wait()
	}
}

// question is what was so when something was asked of a broker.
type question struct {
	broker int32
	role   simRole
	acks   [simPartitions]int
	told   int
}

func (g *simGroup) ask(broker int32) question {
	q := question{broker: broker, role: g.s.seen.role(broker, g.home)}
	g.mu.Lock()
	defer g.mu.Unlock()
	for p := range q.acks {
		q.acks[p] = len(g.acks[p])
	}
	q.told = len(g.told)
	return q
}

// answered returns the reign in which a question was answered as by a coordinator, noReign
// if that changed meanwhile.
func (g *simGroup) answered(q question, what string) int32 {
	now := g.s.seen.role(q.broker, g.home)
	if now.changes != q.role.changes {
		if late := time.Since(now.since); !now.leads && late > simDelay && g.s.clear(now.since) {
			g.s.seen.bad("%s: broker %d has answered a %s %v after it ceased to coordinate", g.name, q.broker, what, late)
		}
		return noReign
	}
	if !now.leads {
		g.s.seen.bad("%s: broker %d has answered a %s and does not coordinate", g.name, q.broker, what)
		return noReign
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers++
	return now.epoch
}

// simDelay is how long an answer is under way at the most, when nothing holds it up.
const simDelay = 100 * time.Millisecond

// sends returns the serial of a commit that is about to be sent.
func (g *simGroup) sends(partition int32, offset int64) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent[partition] = append(g.sent[partition], offset)
	return len(g.sent[partition]) - 1
}

func (g *simGroup) acknowledged(q question, partition int32, serial int) {
	reign := g.answered(q, "commit")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.acks[partition] = append(g.acks[partition], ack{reign, serial})
}

// fetched checks what a coordinator says is committed: the last that was acknowledged in
// its reign or an earlier one, or something that was sent later.
func (g *simGroup) fetched(q question, partition int32, offset int64, metadata string) {
	reign := g.answered(q, "fetch of offsets")
	if reign == noReign {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.compare(partition, offset, metadata, g.acks[partition][:q.acks[partition]], func(a ack) bool { return a.reign != noReign && a.reign <= reign },
		fmt.Sprintf("broker %d in epoch %d", q.broker, reign))
}

// compare holds that an offset is not one from before those acknowledgements that count.
// mu is held.
func (g *simGroup) compare(partition int32, offset int64, metadata string, acks []ack, counts func(ack) bool, who string) {
	last := -1
	for _, a := range acks {
		if counts(a) {
			last = max(last, a.serial)
		}
	}
	serial := -1
	if offset >= 0 {
		var err error
		if serial, err = strconv.Atoi(metadata); err != nil || serial >= len(g.sent[partition]) || g.sent[partition][serial] != offset {
			g.s.seen.bad("%s: %s says that %d %q is committed for partition %d, which nobody has sent", g.name, who, offset, metadata, partition)
			return
		}
	}
	if serial < last {
		g.s.seen.bad("%s: %s says that commit %d of partition %d, offset %d, is the last, after commit %d of offset %d was acknowledged",
			g.name, who, serial, partition, offset, last, g.sent[partition][last])
	}
}

// joined checks the generation that a member was told of: in a reign generations do not
// go back, and a later one begins with the last that was stored.
func (g *simGroup) joined(q question, generation int32) (reign int32) {
	reign = g.answered(q, "join")
	if reign == noReign {
		return reign
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.told[:q.told] {
		if t.generation > generation && (t.reign == reign || t.stored && t.reign < reign) {
			g.s.seen.bad("%s: broker %d in epoch %d says that the generation is %d, after %d in epoch %d", g.name, q.broker, reign, generation, t.generation, t.reign)
		}
	}
	g.told = append(g.told, toldGeneration{reign: reign, generation: generation})
	return reign
}

// synced checks what a member of a generation was assigned, which it has joined in a
// reign: its leader is the only one, and no partition belongs to two members. What is in
// the log of a new coordinator may be there no more when the next one comes, if nobody
// was ever told that it is stored: its generation may come again, as in Kafka. It returns
// whether every later coordinator has to know of the generation.
func (g *simGroup) synced(q question, joined int32, generation int32, leader, member string, owned []int32) (stored bool) {
	reign := g.answered(q, "sync")
	if reign == noReign {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if reign == joined {
		g.told = append(g.told, toldGeneration{reign, generation, true})
	}
	known := g.generations[generation]
	if known == nil || !known.stored && known.reign != reign && known.conflict(leader, member, owned) != "" {
		known = &simGeneration{reign: reign, leader: leader}
		g.generations[generation] = known
	}
	if what := known.conflict(leader, member, owned); what != "" {
		g.s.seen.bad("%s: generation %d, in epochs %d and %d: %s", g.name, generation, known.reign, reign, what)
	}
	known.stored = known.stored || reign == joined
	for _, p := range owned {
		known.owners[p] = member
	}
	return reign == joined
}

// conflict says what of a generation is not as it was told before, "" if nothing.
func (known *simGeneration) conflict(leader, member string, owned []int32) string {
	if known.leader != leader {
		return fmt.Sprintf("it has two leaders, %s and %s", known.leader, leader)
	}
	for _, p := range owned {
		if other := known.owners[p]; other != "" && other != member {
			return fmt.Sprintf("partition %d belongs to %s and %s", p, other, member)
		}
	}
	return ""
}

// stable says whether all members have heard, since some time, that they belong to the
// same generation, in which all partitions belong to somebody.
func (g *simGroup) stable(since time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	owned, generation := 0, g.members[0].told.generation
	for _, m := range g.members {
		if m.told.generation != generation || !m.told.beat.After(since) {
			return false
		}
		owned += m.told.owned
	}
	return owned == simPartitions
}

// stable waits until all groups are. Meanwhile no member leaves or joins of its own will.
func (s *simulation) stable() bool {
	since := time.Now()
	for _, g := range s.groups {
		for _, m := range g.members {
			m.calm.Store(true)
			defer m.calm.Store(false)
		}
	}
	return s.within(simGroupLimit, "all groups are stable", func() bool {
		for _, g := range s.groups {
			if !g.stable(since) {
				return false
			}
		}
		return true
	})
}

// checkFinal asks the coordinator what is committed, when all has healed and the members
// have stopped.
func (g *simGroup) checkFinal() bool {
	w := wire{process: g.s.clients}
	defer w.close()
	var last error
	ok := g.s.within(15*time.Second, g.name+" tells what is committed", func() bool {
		coordinator, err := w.coordinator(1, g.name)
		if err != nil {
			last = err
			return false
		}
		resp, err := w.committed(coordinator, g.name)
		if err == nil {
			err = fetchError(resp)
		}
		if err != nil {
			last = err
			return false
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range resp.Topics[0].Partitions {
			g.compare(p.Partition, p.Offset, *p.Metadata, g.acks[p.Partition], func(ack) bool { return true }, "in the end the coordinator")
			g.checkRising(p.Partition)
		}
		return true
	})
	if !ok {
		g.s.note("%s: %v", g.name, last)
	}
	return ok
}

// checkRising holds that of the acknowledged commits each goes further than those that
// were sent before it: whoever took the partition over has asked for what was stable.
// mu is held.
func (g *simGroup) checkRising(partition int32) {
	offsets := g.sent[partition]
	acks := slices.SortedFunc(slices.Values(g.acks[partition]), func(a, b ack) int { return a.serial - b.serial })
	for i := 1; i < len(acks); i++ {
		if a, b := acks[i-1].serial, acks[i].serial; offsets[a] >= offsets[b] {
			g.s.seen.bad("%s: commit %d of partition %d, of offset %d, came after commit %d of offset %d", g.name, b, partition, offsets[b], a, offsets[a])
		}
	}
}

// observe asks brokers at random what the group has committed, whether they coordinate it
// or not.
func (g *simGroup) observe(who uint64, stop <-chan struct{}) {
	w := wire{process: g.s.clients}
	defer w.close()
	rnd := g.s.random(who)
	for !closed(stop) {
		time.Sleep(time.Duration(20+rnd.IntN(300)) * time.Millisecond)
		broker := 1 + rnd.Int32N(3)
		q := g.ask(broker)
		if resp, err := w.committed(broker, g.name); err == nil && resp.ErrorCode == 0 {
			g.fetchedAll(q, resp)
		}
	}
}

// begins asks a broker what is committed at the moment when it begins to coordinate the
// group, and has yet to load it. A client cannot be so quick: the disk is memory.
func (g *simGroup) begins(broker int32, c *group.Coordinator) {
	q := g.ask(broker)
	var all []protocol.TopicPartition
	for p := range int32(simPartitions) {
		all = append(all, simPartition(p))
	}
	offsets, err := c.FetchOffsets(nil, g.name, all)
	if err != nil {
		return
	}
	for _, o := range offsets {
		if !o.Unstable {
			g.fetched(q, o.Partition, o.Offset, o.Metadata)
		}
	}
}

// fetchedAll checks the offsets of a response that are stable.
func (g *simGroup) fetchedAll(q question, resp *kmsg.OffsetFetchResponse) {
	for _, p := range resp.Topics[0].Partitions {
		if p.ErrorCode == 0 {
			g.fetched(q, p.Partition, p.Offset, *p.Metadata)
		}
	}
}

// fetchError is the first error of a response.
func fetchError(resp *kmsg.OffsetFetchResponse) error {
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	for _, p := range resp.Topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}

func (g *simGroup) acknowledgedCommits() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, acks := range g.acks {
		n += len(acks)
	}
	return n
}

// noteMembers writes down what has become of the members.
func (g *simGroup) noteMembers() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		g.s.note("%s is %q in generation %d with %d partitions, last heard %v ago; errors: %v", m.name(), m.id, m.told.generation, m.told.owned, time.Since(m.told.beat), m.failed)
	}
}
