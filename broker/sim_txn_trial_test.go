package broker

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/statelog"
)

// txnTrial is a transaction during which a broker fails.
type txnTrial struct {
	brokers int32
	how     string // that the transaction is to end
	victim  string // which broker fails
	fault   string

	s       *simulation
	client  *txnClient
	checker *txnClient // that asks those only that have not failed
	failed  *simBroker
	heal    func()                            // has the broker back
	epoch   int16                             // of the producer before
	from    map[protocol.TopicPartition]int64 // where partitions ended before the transaction
	to      map[protocol.TopicPartition]int64 // and where they do after it
	told    string                            // how it has ended, as the client knows
	result  string                            // how it has ended
}

// How a transaction is to end.
const (
	txnCommits  = "commit"
	txnAborts   = "abort"
	txnFenced   = "fenced"    // by a newcomer with the same id
	txnTimesOut = "timed out" // of a client that waits for too long
	txnDropped  = "gone"      // of a client that would commit, but is gone when a broker fails
)

// Which broker fails.
const (
	coordinates = "coordinator"
	leads       = "leader" // of a partition with records and of the group's, but not the coordinator
)

// How it does.
const (
	killed    = "killed"
	unplugged = "power"  // is lost
	paused    = "paused" // until others have taken over, and everything is over: cut off from all
	cutOff    = "cut"    // the same, but clients reach it
)

const (
	txnCommitted = "committed"
	txnAborted   = "aborted"
)

const (
	txnPoll            = 100 * time.Millisecond
	txnTopicPartitions = 3 // of __transaction_state
	otherTopic         = "u"
)

func (x *txnTrial) properties() map[string]string {
	properties := map[string]string{
		"replica.lag.time.max.ms":                                     "3000",
		"replica.socket.timeout.ms":                                   "2000",
		"request.timeout.ms":                                          "5000",
		"controlled.shutdown.retry.backoff.ms":                        "500",
		"offsets.topic.num.partitions":                                fmt.Sprint(simOffsetsPartitions),
		"transaction.state.log.num.partitions":                        fmt.Sprint(txnTopicPartitions),
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
	}
	if x.fault == unplugged {
		properties["log.flush.interval.messages"] = "1" // acknowledged means synced
	}
	if x.brokers == 1 {
		properties["offsets.topic.replication.factor"] = "1"
		properties["transaction.state.log.replication.factor"] = "1"
		properties["transaction.state.log.min.isr"] = "1"
	} else {
		properties["min.insync.replicas"] = "2"
	}
	return properties
}

// run has the broker fail after so many durable steps, and returns how many there were
// until then.
func (x *txnTrial) run(t *testing.T, steps int, logger *slog.Logger) (reached int) {
	s := x.begin(t, uint64(steps), logger)
	ok := x.prepare()
	if ok {
		reached, ok = x.fail(steps)
	}
	if ok && x.check() && x.find(&x.to) && x.endAgain() && x.goOn() {
		x.checkLogs()
	}
	s.close()
	for _, wrong := range s.seen.wrong {
		t.Error(wrong)
	}
	if len(s.seen.wrong) > 0 {
		t.Logf("after %d steps, the last of them %s:\n  %s", reached, s.failpoint.last(), s.story())
	}
	return reached
}

// begin makes the cluster.
func (x *txnTrial) begin(t *testing.T, seed uint64, logger *slog.Logger) *simulation {
	s := newSimulation(t, int(x.brokers), seed, logger, x.properties())
	x.s = s
	s.replicated = nil
	for p := range int32(simPartitions) {
		s.replicated = append(s.replicated, simPartition(p), protocol.TopicPartition{Topic: otherTopic, Partition: p})
	}
	for p := range int32(simOffsetsPartitions) {
		s.replicated = append(s.replicated, simOffsetsPartition(p))
	}
	for p := range int32(txnTopicPartitions) {
		s.replicated = append(s.replicated, protocol.TopicPartition{Topic: protocol.TransactionStateTopic, Partition: p})
	}
	return s
}

// does notes an error.
func (s *simulation) does(what string, err error) bool {
	if err != nil {
		s.seen.bad("%s: %v", what, err)
	}
	return err == nil
}

// prepare has all topics made, and a transaction committed.
func (x *txnTrial) prepare() bool {
	s := x.s
	if !s.within(startLimit, "all brokers run", func() bool {
		return !slices.ContainsFunc(s.brokers, func(b *simBroker) bool { return b.broker() == nil })
	}) {
		return false
	}
	x.client = newTxnClient(s, "", "")
	c := x.client
	for _, name := range []string{simTopic, otherTopic} {
		if !s.does("create a topic", createSimTopic(&c.wire, name, x.brokers, nil)) {
			return false
		}
	}
	for _, kind := range []int8{groupKey, transactionKey} {
		if !s.does("look for a coordinator", c.try("FindCoordinator", func() error {
			_, err := c.wire.coordinatorOf(1, kind, "any")
			return err
		})) {
			return false
		}
	}
	if !s.settled() {
		return false
	}
	coordinator, leader := int32(1), min(2, x.brokers)
	c.id = s.nameLedBy(protocol.TransactionStateTopic, txnTopicPartitions, coordinator)
	c.group = s.nameLedBy(protocol.ConsumerOffsetsTopic, simOffsetsPartitions, leader)
	x.failed = s.brokers[coordinator-1]
	if x.victim == leads {
		x.failed = s.brokers[leader-1]
	}
	x.checker = newTxnClient(s, c.id, c.group)
	x.checker.ask = x.failed.id%x.brokers + 1
	return s.does("a transaction before", errors.Join(c.init(), c.fill("before", 1), c.end(true))) && x.ended() && x.find(&x.from) && s.settled()
}

// nameLedBy finds a key whose partition a broker leads.
func (s *simulation) nameLedBy(topic string, partitions, broker int32) string {
	view := s.brokers[0].broker().parts.view.Snapshot()
	for i := 0; ; i++ {
		name := fmt.Sprint("x", i)
		p, ok := view.Partition(protocol.TopicPartition{Topic: topic, Partition: statelog.PartitionFor(name, partitions)})
		if ok && p.Leader == broker {
			return name
		}
		if i == 100 {
			s.t.Fatalf("broker %d leads no partition of %s", broker, topic)
		}
	}
}

// fail runs the transaction while the broker fails, and waits until everybody is done.
func (x *txnTrial) fail(steps int) (reached int, ok bool) {
	s, c := x.s, x.client
	x.heal, x.epoch = x.failed.start, c.epoch
	s.failpoint.arm(s, steps, x.fault == unplugged, func() {
		switch x.fault {
		case killed:
			x.failed.kill()
		case unplugged:
			x.failed.powerOff(s.random(10))
		case paused:
			x.heal = s.cut(s.allLinks(x.failed, func(string) bool { return true })...)
		case cutOff:
			x.heal = s.cut(s.allLinks(x.failed, func(m string) bool { return m != clientMachine })...)
		}
	})
	c.ask = x.failed.id
	done := make(chan struct{})
	s.running.Go(func() {
		defer close(done)
		x.transact()
		c.wire.close()
	})
	select {
	case <-s.failpoint.struck:
	case <-done:
		time.Sleep(2 * time.Second) // for the markers, and what follows them
	}
	reached = s.failpoint.strikeNow()
	s.note("%s: %s, after %d steps, the last of them %s", x.failed.name(), x.fault, reached, s.failpoint.last())
	if x.brokers == 1 {
		x.heal()
	} else {
		s.within(simSessionTimeout+3*time.Second, "leaders elsewhere", func() bool {
			return s.others(x.failed, func(p *cluster.Partition) bool { return p.Leader > 0 && p.Leader != x.failed.id })
		})
	}
	<-done
	return reached, len(s.seen.wrong) == 0
}

// transact does what the client does, until it knows how its transaction has ended.
func (x *txnTrial) transact() {
	c := x.client
	switch x.how {
	case txnTimesOut:
		c.timeout = 10 * time.Second
	case txnDropped:
		c.timeout, c.goesOn = 15*time.Second, false
	}
	err := c.init()
	if err == nil {
		err = c.fill("this", 2)
	}
	if err == nil {
		switch x.how {
		case txnCommits, txnDropped:
			if err = c.end(true); err == nil {
				x.told = txnCommitted
			}
		case txnAborts:
			if err = c.end(false); err == nil {
				x.told = txnAborted
			}
		case txnFenced:
			newcomer := newTxnClient(x.s, c.id, c.group)
			newcomer.ask = c.ask
			if err = newcomer.init(); err == nil {
				x.told = txnAborted
			}
			newcomer.wire.close()
		case txnTimesOut:
			time.Sleep(c.timeout + 3*time.Second)
			if err = c.end(true); err == nil {
				x.told = txnCommitted // it was faster than the new coordinator's look for those that are late
			}
		}
	}
	switch {
	case x.how == txnTimesOut && fenced(err):
		x.told = txnAborted
	case x.how == txnDropped && errors.Is(err, errGone):
	case err != nil:
		x.s.seen.bad("the client was told: %v", err)
	}
	x.s.note("the client knows: %q", x.told)
}

// find finds where the partitions end.
func (x *txnTrial) find(at *map[protocol.TopicPartition]int64) bool {
	*at = map[protocol.TopicPartition]int64{}
	for _, p := range txnPartitions {
		end, _, err := x.checker.ends(p)
		if !x.s.does("the end of "+p.String(), err) {
			return false
		}
		(*at)[p] = end
	}
	return true
}

// ended waits until no transaction is open, for the coordinator and in the partitions.
func (x *txnTrial) ended() bool {
	var state string
	var err error
	if !x.s.withinEvery(txnPoll, 40*time.Second, "the coordinator has ended the transaction", func() bool {
		state, err = x.checker.described()
		return err == nil && (state == "Empty" || strings.HasPrefix(state, "Complete"))
	}) {
		x.s.seen.bad("the state is %q (%v)", state, err)
		return false
	}
	for _, p := range txnPartitions {
		var end, stable int64
		if !x.s.withinEvery(txnPoll, 10*time.Second, p.String()+" has no open transaction", func() bool {
			end, stable, err = x.checker.ends(p)
			return err == nil && end == stable
		}) {
			x.s.seen.bad("%v ends at %d, of which %d are stable (%v)", p, end, stable, err)
			return false
		}
	}
	return true
}

// check holds that the transaction has one result everywhere, and the one that the
// client knows.
func (x *txnTrial) check() bool {
	if !x.ended() {
		return false
	}
	x.result = txnAborted
	for i, p := range txnPartitions {
		values, ok := x.read(p)
		if !ok {
			return false
		}
		if i == 0 && slices.Contains(values, "this") {
			x.result = txnCommitted
		}
		if want := x.expected(); !slices.Equal(values, want) {
			x.s.seen.bad("%v has %q for who reads what is committed, and should have %q", p, values, want)
		}
	}
	if x.told != "" && x.told != x.result {
		x.s.seen.bad("the client was told that the transaction is %s, and it is %s", x.told, x.result)
	}
	want := int64(1)
	if x.result == txnCommitted {
		want = 2
	}
	return x.offsetIs(want) && len(x.s.seen.wrong) == 0
}

func (x *txnTrial) expected() []string {
	want := []string{"before", "before"}
	if x.result == txnCommitted {
		want = append(want, "this", "this")
	}
	return want
}

func (x *txnTrial) read(p protocol.TopicPartition) (values []string, ok bool) {
	return values, x.s.withinEvery(txnPoll, 10*time.Second, "read "+p.String(), func() bool {
		var err error
		values, err = x.checker.readCommitted(p)
		return err == nil
	})
}

func (x *txnTrial) offsetIs(want int64) bool {
	var offset int64
	var err error
	ok := x.s.withinEvery(txnPoll, 10*time.Second, "the group's offset is stable", func() bool {
		offset, err = x.checker.committedOffset()
		return err == nil
	})
	if !ok || offset != want {
		x.s.seen.bad("the group has committed %d (%v), and should have %d", offset, err, want)
	}
	return ok
}

// endAgain has the client end its transaction once more.
func (x *txnTrial) endAgain() bool {
	c := x.client
	c.goesOn, c.ask = true, x.checker.ask
	if c.epoch == x.epoch {
		return true // it has never heard that it has begun
	}
	err := c.end(x.how != txnAborts)
	switch {
	case x.result == txnCommitted || x.how == txnAborts:
		x.s.does("the client ends its transaction once more", err)
	case x.how == txnDropped && errors.Is(err, kerr.InvalidTxnState): // it had no partitions yet
	case !fenced(err):
		x.s.seen.bad("after the abort of its transaction the client commits it once more, and is told: %v", err)
	}
	return len(x.s.seen.wrong) == 0
}

// goOn has the broker that has failed come back while the next transaction is open: of
// the same producer, if it has not been fenced. That changes nothing.
func (x *txnTrial) goOn() bool {
	s, next := x.s, x.client
	if x.how != txnCommits && x.how != txnAborts {
		next = newTxnClient(s, x.client.id, x.client.group)
		next.ask = x.checker.ask
		if !s.does("the next producer", next.init()) {
			return false
		}
	}
	if !s.does("the next transaction", next.fill("next", 3)) || x.brokers > 1 && !x.restore() {
		return false
	}
	if !s.does("the end of the next transaction", next.end(true)) || !x.ended() || !x.offsetIs(3) {
		return false
	}
	for _, p := range txnPartitions {
		values, ok := x.read(p)
		if want := append(x.expected(), "next", "next"); ok && !slices.Equal(values, want) {
			s.seen.bad("%v has %q for who reads what is committed, and should have %q", p, values, want)
		}
	}
	return len(s.seen.wrong) == 0 && x.same(x.logs(s.brokers[x.checker.ask-1]))
}

// restore has the broker back that has failed, which changes nothing.
func (x *txnTrial) restore() bool {
	s := x.s
	before := x.logs(s.brokers[x.checker.ask-1])
	x.heal()
	if !s.settled() {
		return false
	}
	time.Sleep(3 * time.Second) // for what it still has to say
	return x.same(before)
}

// logs is what a broker has of all partitions.
func (x *txnTrial) logs(b *simBroker) map[protocol.TopicPartition][]byte {
	all := map[protocol.TopicPartition][]byte{}
	for _, p := range x.s.replicated {
		all[p] = logOf(b.disk, p)
	}
	return all
}

// same holds that all brokers have the same.
func (x *txnTrial) same(want map[protocol.TopicPartition][]byte) bool {
	for _, b := range x.s.brokers {
		if x.s.withinEvery(txnPoll, 5*time.Second, b.name()+" has what the others have", func() bool {
			return maps.EqualFunc(want, x.logs(b), bytes.Equal)
		}) {
			continue
		}
		for p, now := range x.logs(b) {
			if at, same := sameBatches(now, want[p]); !same {
				x.s.seen.bad("%v of %s differs from offset %d on", p, b.name(), at)
			}
		}
		return false
	}
	return true
}

// checkLogs holds that the markers of the transaction say all the same, and that none of
// a coordinator comes behind one of its successor.
func (x *txnTrial) checkLogs() {
	for _, p := range txnPartitions {
		newest := int32(-1)
		for log := logOf(x.s.brokers[0].disk, p); len(log) > 0; {
			var b record.Batch
			var err error
			if b, log, err = record.Next(log); !x.s.does(p.String(), err) {
				return
			}
			m, ok, err := record.ParseMarker(b)
			if !b.IsControl() || !x.s.does("a marker of "+p.String(), err) || !ok {
				continue
			}
			if m.CoordinatorEpoch < newest {
				x.s.seen.bad("%v: the marker at offset %d is of coordinator epoch %d, behind one of %d", p, b.BaseOffset(), m.CoordinatorEpoch, newest)
			}
			newest = m.CoordinatorEpoch
			if at := b.BaseOffset(); at >= x.from[p] && at < x.to[p] && (m.Type == record.ControlCommit) != (x.result == txnCommitted) {
				x.s.seen.bad("%v: the marker at offset %d is of type %d, and the transaction is %s", p, at, m.Type, x.result)
			}
		}
	}
}
