package group

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// TestScenarios replays testdata/scenarios: each file is the life of one group. The
// state machine is driven by hand: time passes only with wait, and a write is in the
// log when stored says so. Whatever a step asks for is shown behind the time, in ms.
//
//	group [max=N] [delay=MS] [retention=MS] [metadata=N]   begin with a group without members
//	join as=R [id=M] [instance=I] [client=C] [st=MS] [rt=MS] [type=T] [protocols=(name:topic+topic,…)] [one-step] [skip]
//	        R names the request where it is answered. Without an id the member is
//	        new and is called C-1, C-2, …; protocols are (range:t) unless said otherwise,
//	        and what is behind the colon is a consumer's subscription, or raw bytes
//	        behind "="
//	sync as=R id=M gen=N [instance=I] [type=T] [protocol=P] [assign=(M:text,…)]
//	heartbeat id=M gen=N [instance=I]
//	leave [ids=(M,…)] [instance=I]
//	commit as=R [id=M] [gen=N] [instance=I] [expire=MS] offsets=(t-0:5,t-1:6:note)
//	stored [error=NAME] [base=N] [last]   the oldest write (the newest: last) ended
//	wait ms=N                     time passes
//	expire | delete | delete-offsets partitions=(…) | topic-deleted partitions=(…)
//	transaction producer=N offsets=(…)    offsets that wait for a transaction's end
//	load [max=N]                  another coordinator takes over what is in the log
//	resign
//	show                          state, members, offsets
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

// epoch is when scenarios begin.
var epoch = time.UnixMilli(1_700_000_000_000)

type scenario struct {
	g      *classicGroup
	limits Limits
	now    time.Time
	ids    int
	writes []write
	base   int64
	log    loader // what is in the log
	out    []string
}

func (s *scenario) say(format string, args ...any) {
	s.out = append(s.out, fmt.Sprintf("%d: ", s.now.Sub(epoch).Milliseconds())+fmt.Sprintf(format, args...))
}

func (s *scenario) run(t *testing.T, d *datadriven.TestData) {
	args := scenarioArgs{t, d}
	var fx effects
	switch d.Cmd {
	case "group":
		*s = scenario{now: epoch, log: *newLoader(), limits: Limits{
			MinSessionTimeout: 6 * time.Second, MaxSessionTimeout: 30 * time.Minute,
			InitialRebalanceDelay:  args.ms("delay", 3000),
			MaxSize:                int(args.number("max", 100)),
			OffsetMetadataMaxBytes: int(args.number("metadata", 4096)),
			OffsetsRetention:       args.ms("retention", 7*24*3600*1000),
		}}
		s.g = newClassicGroup("g", &s.limits, s.now)
	case "join":
		r := args.join()
		s.ids++
		s.g.join(s.now, r, fmt.Sprintf("%s-%d", r.ClientID, s.ids), s.joinReply(args.text("as", "?")), &fx)
	case "sync":
		s.g.sync(s.now, args.sync(), s.syncReply(args.text("as", "?")), &fx)
	case "heartbeat":
		err := s.g.heartbeat(s.now, &HeartbeatRequest{MemberID: args.text("id", ""), InstanceID: args.optional("instance"), Generation: int32(args.number("gen", -1))})
		s.say("%s", name(err))
	case "leave":
		var leaving []Leaving
		for _, id := range args.list("ids") {
			leaving = append(leaving, Leaving{MemberID: id, InstanceID: args.optional("instance")})
		}
		if leaving == nil {
			leaving = []Leaving{{InstanceID: args.optional("instance")}}
		}
		err := s.g.leave(s.now, leaving, &fx)
		s.say("leave: %s", name(err))
		for _, l := range leaving {
			s.say("  %q: %s", l.MemberID, name(l.Err))
		}
	case "commit":
		c, as := args.commit(s.now), args.text("as", "?")
		c.done = func() { s.say("%s: %s", as, describeCommit(c)) }
		s.g.commit(s.now, c, &fx)
	case "stored":
		s.stored(args, &fx)
	case "wait":
		s.wait(args.ms("ms", 0))
		return
	case "expire":
		s.say("%d expired", s.g.expire(s.now, &fx))
	case "delete":
		s.say("%s", name(s.g.delete(s.now, &fx)))
	case "delete-offsets":
		var list []OffsetDeletion
		for _, tp := range args.partitions() {
			list = append(list, OffsetDeletion{TopicPartition: tp})
		}
		s.say("%s", name(s.g.deleteOffsets(s.now, list, &fx)))
		for _, o := range list {
			s.say("  %v: %s", o.TopicPartition, name(o.Err))
		}
	case "topic-deleted":
		s.g.removeOffsets(s.now, s.g.known(args.partitions()), &fx)
	case "transaction":
		open := s.g.transaction(args.number("producer", 1))
		for _, o := range args.offsets() {
			open.offsets[o.TopicPartition()] = storedOffset{o.value(s.now.UnixMilli()), s.base}
		}
	case "load":
		loaded := s.log.groups["g"]
		if loaded == nil {
			s.say("there is no such group")
			return
		}
		s.writes = nil
		s.limits.MaxSize = int(args.number("max", int64(s.limits.MaxSize)))
		s.g = loadedClassicGroup("g", &s.limits, loaded, s.now, &fx)
	case "resign":
		s.g.resign(s.now, &fx)
	case "show":
		s.show()
	default:
		d.Fatalf(t, "no command %q", d.Cmd)
	}
	s.effects(&fx)
}

// effects shows what a step asks for, and keeps its writes for stored.
func (s *scenario) effects(fx *effects) {
	for i := range fx.writes {
		s.say("write %s", describeWrite(&fx.writes[i]))
	}
	s.writes = append(s.writes, fx.writes...)
	fx.answer()
}

func (s *scenario) joinReply(as string) func(JoinResult) {
	return func(r JoinResult) { s.say("%s: %s", as, describeJoin(r)) }
}

func (s *scenario) syncReply(as string) func(SyncResult) {
	return func(r SyncResult) {
		if r.Err != nil {
			s.say("%s: %s", as, name(r.Err))
			return
		}
		s.say("%s: %s %s %q", as, r.ProtocolType, r.Protocol, r.Assignment)
	}
}

func (s *scenario) stored(args scenarioArgs, fx *effects) {
	if len(s.writes) == 0 {
		args.d.Fatalf(args.t, "nothing is on its way to the log")
	}
	i := 0
	if args.d.HasArg("last") {
		i = len(s.writes) - 1
	}
	w := s.writes[i]
	s.writes = slices.Delete(s.writes, i, i+1)
	s.base = max(s.base, args.number("base", s.base+1))
	base := args.number("base", s.base)
	err := error(nil)
	if text := args.text("error", ""); text != "" {
		err = errorNamed(args.t, text)
	} else {
		s.append(&w, base)
	}
	switch {
	case w.commit != nil:
		if err != nil {
			err = commitError(err)
		}
		s.g.committed(&w, base, err, fx)
	case w.metadata != nil:
		if err != nil {
			err = metadataError(err)
		}
		s.g.groupStored(s.now, w.metadata, err, fx)
	}
}

// append has the log know what was written, by way of the records.
func (s *scenario) append(w *write, base int64) {
	for _, r := range encodeWrite(w, base) {
		if err := s.log.add(r); err != nil {
			panic(err)
		}
	}
}

func (s *scenario) wait(d time.Duration) {
	until := s.now.Add(d)
	for !s.g.wake.IsZero() && !s.g.wake.After(until) {
		s.now = s.g.wake
		var fx effects
		s.g.tick(s.now, &fx)
		s.effects(&fx)
	}
	s.now = until
}

func (s *scenario) show() {
	g := s.g
	s.say("%v type=%q gen=%d protocol=%q leader=%q since=%d", g.state, g.protocolType, g.generation, g.protocol, g.leader, g.stateMS-epoch.UnixMilli())
	for _, m := range g.members {
		text := ""
		if m.instanceID != nil {
			text += " instance=" + *m.instanceID
		}
		if m.join != nil {
			text += " joining"
		}
		if m.sync != nil {
			text += " syncing"
		}
		if m.unsynced {
			text += " unsynced"
		}
		s.say("  %s%s client=%s rt=%v st=%v %q", m.id, text, m.clientID, m.rebalanceTimeout, m.sessionTimeout, m.assignment)
	}
	for _, id := range sortedKeys(g.pending, strings.Compare) {
		s.say("  pending %s", id)
	}
	if g.subscribed != nil {
		s.say("  topics %v", sortedKeys(g.subscribed, strings.Compare))
	}
	offsets := maps.Collect(g.offsets.all())
	for _, tp := range sortedKeys(offsets, protocol.TopicPartition.Compare) {
		s.say("  %v: %s", tp, describeOffset(offsets[tp].OffsetValue))
	}
	for _, tp := range sortedKeys(g.inFlight, protocol.TopicPartition.Compare) {
		s.say("  %v: %d on their way", tp, g.inFlight[tp].n)
	}
	for id, open := range g.transactions {
		s.say("  producer %d: %v", id, sortedKeys(open.offsets, protocol.TopicPartition.Compare))
	}
}

func name(err error) string {
	if err == nil {
		return "ok"
	}
	return kerr.TypedErrorForCode(codeOf(err)).Message
}
