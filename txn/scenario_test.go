package txn

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// TestScenarios replays testdata/scenarios: each file is the life of one transactional
// id. The state machine is driven by hand: time passes only with wait, a write is in the
// log when stored says so, and markers are written when marked does. Whatever a step asks
// for is shown behind the time, in ms.
//
//	id [expiration=MS] [epoch=N] [places=N] [room=N]   begin with an id of which the log
//	        says nothing; or, with epoch, that producer 1000 has it in that epoch
//	init as=R [timeout=MS] [pid=N epoch=N] [fresh=N]   R names the request where it is
//	        answered; fresh is a producer id that nobody has
//	add as=R pid=N epoch=N partitions=(t-0,…)
//	verify pid=N epoch=N partitions=(t-0,…)
//	commit | abort as=R pid=N epoch=N
//	stored [error=NAME]           the change is in the log, or the append ended so
//	marked                        every partition has its marker
//	wait ms=N                     time passes
//	time-out | expire
//	load                          another coordinator takes over what is in the log
//	resign
//	show                          the state, and what it is about to be
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := &scenario{}
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				s.out = nil
				s.run(t, d)
				if len(s.out) == 0 {
					return "ok"
				}
				return strings.Join(s.out, "\n")
			})
		})
	}
}

// epoch0 is when scenarios begin.
var epoch0 = time.UnixMilli(1_700_000_000_000)

type scenario struct {
	t      *transaction
	limits Limits
	places int
	room   int
	now    time.Time
	onWay  []*change
	log    *loader // what is in the log
	out    []string
}

func (s *scenario) say(format string, args ...any) {
	s.out = append(s.out, fmt.Sprintf("%d: ", s.now.Sub(epoch0).Milliseconds())+fmt.Sprintf(format, args...))
}

func number(t *testing.T, d *datadriven.TestData, name string, otherwise int64) int64 {
	d.MaybeScanArgs(t, name, &otherwise)
	return otherwise
}

func partitionsArg(t *testing.T, d *datadriven.TestData) (list []protocol.TopicPartition) {
	for _, arg := range d.CmdArgs {
		if arg.Key != "partitions" {
			continue
		}
		for _, text := range arg.Vals {
			tp, ok := protocol.ParseTopicPartitionDir(text)
			if !ok {
				d.Fatalf(t, "%q is no partition", text)
			}
			list = append(list, tp)
		}
	}
	return list
}

func (s *scenario) request(t *testing.T, d *datadriven.TestData, o op) *request {
	as := "?"
	d.MaybeScanArgs(t, "as", &as)
	return &request{
		op: o, id: "x", producerID: number(t, d, "pid", NoProducerID), epoch: int16(number(t, d, "epoch", int64(NoEpoch))),
		timeoutMS: int32(number(t, d, "timeout", 60000)), fresh: number(t, d, "fresh", NoProducerID),
		partitions: sorted(partitionsArg(t, d)), commit: d.Cmd == "commit",
		reply: func(r InitResult) { s.say("%s: %s", as, describeResult(r)) },
	}
}

func describeResult(r InitResult) string {
	if r.Err == nil && r.ProducerID != NoProducerID {
		return fmt.Sprintf("producer %d epoch %d", r.ProducerID, r.Epoch)
	}
	return name(r.Err)
}

func name(err error) string {
	var k *kerr.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &k):
		return k.Message
	}
	return err.Error()
}

func (s *scenario) run(t *testing.T, d *datadriven.TestData) {
	var fx effects
	if s.t != nil {
		s.t.room, s.t.placesFor = s.room, s.places
	}
	switch d.Cmd {
	case "id":
		*s = scenario{
			now: epoch0, log: newLoader(), limits: Limits{Expiration: time.Duration(number(t, d, "expiration", 7*24*3600*1000)) * time.Millisecond},
			places: int(number(t, d, "places", 100)), room: int(number(t, d, "room", 1<<30)),
		}
		s.t = newTransaction("x", &s.limits)
		if d.HasArg("epoch") {
			v := value{producerID: 1000, epoch: int16(number(t, d, "epoch", 0)), timeoutMS: 60000, updateMS: s.now.UnixMilli(), startMS: -1}
			s.log.ids["x"] = v
			s.t = loadedTransaction("x", &s.limits, v, &fx)
		}
	case "init":
		s.t.handle(s.now, s.request(t, d, opInit), &fx)
	case "add":
		s.t.handle(s.now, s.request(t, d, opAdd), &fx)
	case "commit", "abort":
		s.t.handle(s.now, s.request(t, d, opEnd), &fx)
	case "verify":
		s.verify(t, d)
	case "stored":
		s.stored(t, d, &fx)
	case "marked":
		s.t.marked(s.now, &fx)
	case "wait":
		s.wait(time.Duration(number(t, d, "ms", 0)) * time.Millisecond)
		return
	case "time-out":
		s.say("%v", s.t.timeOut(s.now, &fx))
	case "expire":
		s.say("%v", s.t.expire(s.now, &fx))
	case "load":
		v, there := s.log.ids["x"]
		if !there {
			s.say("there is no such id")
			s.t = newTransaction("x", &s.limits)
			return
		}
		s.onWay = nil
		s.t = loadedTransaction("x", &s.limits, v, &fx)
	case "resign":
		s.t.resign(&fx)
	case "show":
		s.show()
	default:
		d.Fatalf(t, "no command %q", d.Cmd)
	}
	s.effects(&fx)
}

func (s *scenario) verify(t *testing.T, d *datadriven.TestData) {
	var list []Verified
	for _, tp := range partitionsArg(t, d) {
		list = append(list, Verified{TopicPartition: tp})
	}
	err := s.t.verify(number(t, d, "pid", NoProducerID), int16(number(t, d, "epoch", -1)), list)
	s.say("%s", name(err))
	for _, v := range list {
		s.say("  %v: %s", v.TopicPartition, name(v.Err))
	}
}

// effects shows what a step asks for, and keeps its writes for stored.
func (s *scenario) effects(fx *effects) {
	for _, c := range fx.writes {
		s.say("write %s", describeChange(c))
	}
	s.onWay = append(s.onWay, fx.writes...)
	if fx.markers != nil {
		s.say("markers %s", describeValue(&fx.markers.value))
	}
	for _, r := range fx.replies {
		r.to(r.result)
	}
	for range fx.fresh {
		s.say("needs a producer id")
	}
	for range fx.again {
		s.say("again")
	}
	if fx.noRoom {
		s.say("no room")
	}
}

func (s *scenario) stored(t *testing.T, d *datadriven.TestData, fx *effects) {
	if len(s.onWay) == 0 {
		d.Fatalf(t, "nothing is on its way to the log")
	}
	c := s.onWay[0]
	s.onWay = s.onWay[1:]
	var err error
	if text := ""; d.HasArg("error") {
		d.ScanArgs(t, "error", &text)
		err = errorNamed(t, text)
	}
	if err == nil || maybeWritten(err) {
		putInto(t, s.log, c)
	}
	s.t.stored(s.now, c, err, fx)
}

// putInto has a loader read what is written of a change.
func putInto(t *testing.T, l *loader, c *change) {
	t.Helper()
	if err := l.add(encoded(t, c)); err != nil {
		t.Fatal(err)
	}
}

func encoded(t testing.TB, changes ...*change) record.Batch {
	t.Helper()
	var writes []queued
	size := record.HeaderSize
	for _, c := range changes {
		w := queued{change: c}
		writes = append(writes, w)
		size += w.Size()
	}
	b, err := newEncoder().encode(writes, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > size {
		t.Errorf("a batch of %d bytes, at most %d were expected", len(b), size)
	}
	return b
}

func errorNamed(t *testing.T, text string) error {
	t.Helper()
	for code := range int16(200) {
		if err := kerr.ErrorForCode(code); err != nil && strings.HasPrefix(err.Error(), text+":") {
			return err
		}
	}
	t.Fatalf("no error %q", text)
	return nil
}

func (s *scenario) wait(d time.Duration) {
	until := s.now.Add(d)
	for !s.t.wake.IsZero() && !s.t.wake.After(until) {
		s.now = s.t.wake
		var fx effects
		s.t.tick(s.now, &fx)
		s.effects(&fx)
	}
	s.now = until
}

func (s *scenario) show() {
	t := s.t
	s.say("%s previous=%d/%d", describeValue(&t.value), t.previousID, t.previousEpoch)
	if t.change != nil {
		s.say("  to %s", describeChange(t.change))
	}
	if len(t.waiting) > 0 {
		s.say("  %d wait", len(t.waiting))
	}
}

func describeChange(c *change) string {
	if c.tombstone {
		return "tombstone"
	}
	return describeValue(&c.to)
}

func describeValue(v *value) string {
	began := v.startMS
	if began >= 0 {
		began -= epoch0.UnixMilli()
	}
	text := fmt.Sprintf("%v pid=%d epoch=%d start=%d", v.state, v.producerID, v.epoch, began)
	if len(v.partitions) > 0 {
		text += fmt.Sprintf(" %v", v.partitions)
	}
	return text
}
