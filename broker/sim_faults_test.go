package broker

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/internal/simnet"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// simFault is one mishap. What it strikes is chosen when it strikes.
type simFault struct {
	odds   int
	name   string
	strike func(s *simulation, rnd *rand.Rand) (whom string, heal func())
}

// event is something that a schedule does to the cluster at its time.
type event struct {
	after time.Duration
	do    func()
}

// schedule draws faults for a round. Each has a source of random numbers of its own, so
// that what happens to one says nothing about the next. Everything has healed by the end.
func (s *simulation) schedule(rnd *rand.Rand, faults []simFault, length time.Duration) []event {
	var events []event
	total := 0
	for _, f := range faults {
		total += f.odds
	}
	for range 2 + rnd.IntN(5) {
		n := rnd.IntN(total)
		i := 0
		for ; n >= faults[i].odds; i++ {
			n -= faults[i].odds
		}
		f := faults[i]
		own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		at, lasts := time.Duration(rnd.Int64N(int64(length))), time.Duration(rnd.ExpFloat64()*float64(3*time.Second))
		var heal func()
		events = append(events,
			event{at, func() {
				var whom string
				whom, heal = f.strike(s, own)
				s.note("%s: %s", whom, f.name)
			}},
			event{min(at+lasts, length), func() {
				if heal != nil {
					s.note("over: %s", f.name)
					heal()
				}
			}})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.after, b.after) })
	return events
}

// play runs a schedule and then heals what is left.
func (s *simulation) play(events []event) {
	began := time.Now()
	for _, e := range events {
		time.Sleep(time.Until(began.Add(e.after)))
		e.do()
	}
	s.heal()
}

// heal brings everything back.
func (s *simulation) heal() {
	s.net.Clear()
	s.zk.up()
	for _, b := range s.brokers {
		b.start()
	}
	s.troubled.Store(false)
	s.healed.Store(time.Now().UnixNano())
	s.note("healed")
}

// some chooses a broker: the controller, the leader of some partition, or any.
func (s *simulation) some(rnd *rand.Rand) *simBroker {
	partitions := s.replicated
	kind, partition, any := rnd.IntN(3), partitions[rnd.IntN(len(partitions))], rnd.IntN(len(s.brokers))
	for _, m := range s.brokers {
		b := m.broker()
		if b == nil {
			continue
		}
		_, active := b.parts.controller.Active()
		if kind == 0 && active {
			return m
		}
		if p, ok := b.parts.view.Snapshot().Partition(partition); kind == 1 && ok && p.Leader > 0 {
			return s.brokers[p.Leader-1]
		}
	}
	return s.brokers[any]
}

// clear says whether nothing has come between brokers and clients since a time. What a cut
// has held up is still under way for a while after it.
func (s *simulation) clear(since time.Time) bool {
	return !s.troubled.Load() && s.healed.Load()+int64(simnet.Resend) <= since.UnixNano()
}

// anyLink is one direction between a broker and another machine.
func (s *simulation) anyLink(rnd *rand.Rand) (from, to string) {
	b := s.some(rnd)
	others := []string{zooKeeperMachine, clientMachine}
	for _, other := range s.brokers {
		if other != b {
			others = append(others, other.name(), other.name())
		}
	}
	from, to = b.name(), others[rnd.IntN(len(others))]
	if to == clientMachine {
		s.troubled.Store(true)
	}
	if rnd.IntN(2) == 0 {
		from, to = to, from
	}
	return from, to
}

// allLinks are the directions to and from a broker, to some of the others or all.
func (s *simulation) allLinks(b *simBroker, with func(machine string) bool) [][2]string {
	var ways [][2]string
	for _, other := range []string{zooKeeperMachine, clientMachine, brokerMachine(1), brokerMachine(2), brokerMachine(3)} {
		if other != b.name() && with(other) {
			ways = append(ways, [2]string{b.name(), other}, [2]string{other, b.name()})
		}
	}
	return ways
}

func (s *simulation) cut(ways ...[2]string) (heal func()) {
	for _, w := range ways {
		s.net.Cut(w[0], w[1])
	}
	return func() {
		for _, w := range ways {
			s.net.Mend(w[0], w[1])
		}
	}
}

// simFaults are those that acknowledged records outlive, whatever comes together.
var simFaults = []simFault{
	{3, "is killed", func(s *simulation, rnd *rand.Rand) (string, func()) {
		b := s.some(rnd)
		b.kill()
		return b.name(), b.start
	}},
	{1, "is killed and starts at once", func(s *simulation, rnd *rand.Rand) (string, func()) {
		b := s.some(rnd)
		b.kill()
		b.start()
		return b.name(), nil
	}},
	{1, "is stopped", func(s *simulation, rnd *rand.Rand) (string, func()) {
		b := s.some(rnd)
		b.terminate()
		return b.name(), func() { b.restart() }
	}},
	{3, "loses its session", func(s *simulation, rnd *rand.Rand) (string, func()) {
		b := s.some(rnd)
		s.expire(b)
		return b.name(), nil
	}},
	{3, "is cut in one direction", func(s *simulation, rnd *rand.Rand) (string, func()) {
		from, to := s.anyLink(rnd)
		return fmt.Sprint(from, " to ", to), s.cut([2]string{from, to})
	}},
	{2, "are cut from each other", func(s *simulation, rnd *rand.Rand) (string, func()) {
		a, b := s.anyLink(rnd)
		return fmt.Sprint(a, " and ", b), s.cut([2]string{a, b}, [2]string{b, a})
	}},
	{2, "is cut from its peers", func(s *simulation, rnd *rand.Rand) (string, func()) {
		b := s.some(rnd)
		return b.name(), s.cut(s.allLinks(b, func(m string) bool { return m != zooKeeperMachine && m != clientMachine })...)
	}},
	{2, "is cut from ZooKeeper and its peers", func(s *simulation, rnd *rand.Rand) (string, func()) {
		b := s.some(rnd)
		return b.name(), s.cut(s.allLinks(b, func(m string) bool { return m != clientMachine })...)
	}},
	{3, "their connections tear", func(s *simulation, rnd *rand.Rand) (string, func()) {
		a, b := s.anyLink(rnd)
		s.net.Tear(a, b)
		return fmt.Sprint(a, " and ", b), nil
	}},
	{3, "connections tear again and again", func(s *simulation, rnd *rand.Rand) (string, func()) {
		from, to := s.anyLink(rnd)
		s.net.SetWeather(from, to, simnet.Weather{Jitter: 5 * time.Millisecond, Tears: 0.1 + 0.4*rnd.Float64()})
		return fmt.Sprint(from, " to ", to), func() { s.net.SetWeather(from, to, simnet.Fair) }
	}},
	{3, "is slow", func(s *simulation, rnd *rand.Rand) (string, func()) {
		from, to := s.anyLink(rnd)
		delay := time.Duration(rnd.ExpFloat64() * float64(200*time.Millisecond))
		s.net.SetWeather(from, to, simnet.Weather{Delay: delay / 2, Jitter: delay})
		return fmt.Sprintf("%s to %s, by %v", from, to, delay), func() { s.net.SetWeather(from, to, simnet.Fair) }
	}},
	{1, "is down", func(s *simulation, rnd *rand.Rand) (string, func()) {
		s.zk.down()
		return "ZooKeeper", s.zk.up
	}},
}

// powerLosses take what was not synced.
var powerLosses = []simFault{
	{3, "loses its power", func(s *simulation, rnd *rand.Rand) (string, func()) {
		b := s.some(rnd)
		b.powerOff(rnd)
		return b.name(), b.start
	}},
	{1, "loses its power for a moment", func(s *simulation, rnd *rand.Rand) (string, func()) {
		b := s.some(rnd)
		b.powerOff(rnd)
		b.start()
		return b.name(), nil
	}},
}

// expire ends a broker's session behind its back, if ZooKeeper answers.
func (s *simulation) expire(m *simBroker) {
	b := m.broker()
	if b == nil {
		return
	}
	id, password := b.parts.session.SessionSecret()
	cfg := b.parts.registration.session
	cfg.Dial = s.clients.Dial
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		session.Dissolve(ctx, cfg, id, password)
	})
}
