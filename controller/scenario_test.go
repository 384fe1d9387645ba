package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

func testLogger(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// TestScenarios replays testdata/scenarios: each file is one cluster, whose brokers
// are fakes, around one real controller and one real ZooKeeper server, in one
// synctest bubble. After each command everything comes to rest.
//
//	start [set=(name=value,…)]     register broker 1 and start its controller
//	up id=N | down id=N            another broker registers, or its session ends
//	bounce id=N                    a broker registers in another session, both at once
//	create topic=T [config=(k=v)]  a topic; the input lines are the replicas of its partitions
//	expand topic=T                 overwrite a topic's node; the input is the whole assignment
//	delete topic=T                 ask for a deletion
//	told                           what the brokers were told since the last time
//	states topic=T                 what ZooKeeper holds of a topic's partitions
//	unreachable id=N | reachable   requests to a broker fail, or do not any more
//	fail id=N partition=P code=C   a broker answers for a partition with an error code
//	logdir id=N                    a broker reports a failed log directory
//	preferred partitions=(…)       a legacy tool asks for preferred leaders
//	write partition=P isr=(…) [leader=N] [controller=N] [notify]
//	                               somebody else writes a partition's state, and leaves a notification
//	isr broker=N partitions=(…) isr=(…) epoch=N zv=N [by-id] [recovering] [broker-epoch=±N]
//	                               a leader asks for another ISR; zv is the partition epoch
//	shutdown id=N [any-epoch] [broker-epoch=±N]
//	                               a broker asks for a controlled shutdown
//	elect partitions=(…) [unclean] a tool asks for elections
//	allow-unclean [topic=T]        unclean election is allowed in a topic, or by default
//	usurp                          another broker takes the controller's place
//	abdicate                       that other broker gives it up
//	expire                         the session of broker 1 ends
//	cut | mend                     broker 1 loses its connection to ZooKeeper, or gets it back
//	zookeeper-down | zookeeper-up  ZooKeeper stops, or starts again with what it had
//	wait seconds=N                 time passes
//	active                         is broker 1 controller
//	children path=P                names below a znode
//	get path=P                     data and version of a znode
//	put path=P | remove path=P     write the input to a znode, or remove it
//	id topic=T                     whether the topic has an id
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scenario{}
				defer s.close()
				datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
					out := s.run(t, d)
					synctest.Wait()
					return out
				})
			})
		})
	}
}

type scenario struct {
	lab   *lab
	rival *session.Client // the usurper's
}

func (s *scenario) close() {
	if s.rival != nil {
		s.rival.Stop(s.lab.ctx)
	}
	s.lab.close()
}

func (s *scenario) run(t *testing.T, d *datadriven.TestData) string {
	l := s.lab
	if l == nil {
		settings := map[string]string{}
		for _, arg := range d.CmdArgs {
			if arg.Key == "set" {
				for _, pair := range arg.Vals {
					name, value, _ := strings.Cut(pair, ":")
					settings[name] = value
				}
			}
		}
		l = newLab(t, settings)
		s.lab = l
	}
	var topic string
	var id int32
	d.MaybeScanArgs(t, "topic", &topic)
	d.MaybeScanArgs(t, "id", &id)
	text := func(err error) string {
		if err != nil {
			return err.Error()
		}
		return "ok"
	}
	switch d.Cmd {
	case "prepare":
		return "ok"
	case "start":
		l.startController()
		return "ok"
	case "up":
		l.brokerUp(id)
		return "ok"
	case "down":
		l.brokerDown(id)
		return "ok"
	case "bounce":
		l.bounce(id)
		return "ok"
	case "zookeeper-down":
		return text(l.server.Stop(l.ctx))
	case "zookeeper-up":
		l.startServer()
		return "ok"
	case "create":
		return text(l.createTopic(topic, assignmentArg(t, d), configArg(d)))
	case "expand":
		return text(l.admin.UpdateTopic(l.ctx, topic, func(a *zkmeta.TopicAssignment) error {
			for i, replicas := range assignmentArg(t, d) {
				a.Partitions[int32(i)] = zkmeta.ReplicaAssignment{Replicas: replicas}
			}
			return nil
		}))
	case "delete":
		return text(l.admin.RequestTopicDeletion(l.ctx, topic))
	case "told":
		return l.fakes.drain()
	case "states":
		return s.states(topic)
	case "unreachable", "reachable":
		l.fakes.mu.Lock()
		l.fakes.unreachable[id] = d.Cmd == "unreachable"
		l.fakes.mu.Unlock()
		return "ok"
	case "fail":
		var name string
		var code int
		d.ScanArgs(t, "partition", &name)
		d.ScanArgs(t, "code", &code)
		l.fakes.mu.Lock()
		if l.fakes.failing[id] == nil {
			l.fakes.failing[id] = map[string]int16{}
		}
		l.fakes.failing[id][name] = int16(code)
		l.fakes.mu.Unlock()
		return "ok"
	case "logdir":
		return text(l.admin.NotifyLogDirFailure(l.ctx, id))
	case "preferred":
		data, err := zkmeta.EncodePreferredElection(partitionsArg(d))
		l.must(err)
		_, err = l.admin.Session().Do1(l.ctx, 0, session.Create(zkmeta.PreferredElectionPath, data, session.Persistent))
		return text(err)
	case "write":
		return s.write(t, d)
	case "usurp":
		return s.usurp()
	case "abdicate":
		err := s.rival.Stop(l.ctx)
		s.rival = nil
		return text(err)
	case "expire":
		l.endSelf()
		return "ok"
	case "cut", "mend":
		l.cut(d.Cmd == "cut")
		return "ok"
	case "wait":
		var seconds float64
		d.ScanArgs(t, "seconds", &seconds)
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		return "ok"
	case "id":
		entries, err := l.admin.TopicAssignments(l.ctx, []string{topic}, nil)
		l.must(err)
		return fmt.Sprint(!entries[0].ID.IsZero(), " ", entries[0].ZkVersion)
	case "active":
		if epoch, active := l.controller.Active(); active {
			return fmt.Sprint("yes, in epoch ", epoch)
		}
		return "no"
	case "children", "get", "put", "remove":
		var path string
		d.ScanArgs(t, "path", &path)
		zk := l.admin.Session()
		switch d.Cmd {
		case "put":
			_, err := zk.Do1(l.ctx, 0, session.Set(path, []byte(d.Input), session.AnyVersion))
			if errors.Is(err, session.ErrNoNode) {
				_, err = zk.Do1(l.ctx, 0, session.Create(path, []byte(d.Input), session.Persistent))
			}
			return text(err)
		case "remove":
			_, err := zk.Do1(l.ctx, 0, session.Delete(path, session.AnyVersion))
			return text(err)
		}
		if d.Cmd == "get" {
			return s.get(path)
		}
		r, err := l.admin.Session().Do1(l.ctx, 0, session.Children(path, nil))
		if err != nil {
			return err.Error()
		}
		slices.Sort(r.Children)
		return strings.Join(r.Children, " ")
	}
	return s.request(t, d)
}

func (s *scenario) get(path string) string {
	r, err := s.lab.admin.Session().Do1(s.lab.ctx, 0, session.Get(path, nil))
	if err != nil {
		return err.Error()
	}
	if r.Data == nil {
		return fmt.Sprintf("v%d null", r.Stat.Version)
	}
	return fmt.Sprintf("v%d %s", r.Stat.Version, r.Data)
}

// states describes the state nodes of a topic.
func (s *scenario) states(topic string) string {
	l := s.lab
	entries, err := l.admin.TopicAssignments(l.ctx, []string{topic}, nil)
	l.must(err)
	if entries[0].Err != nil {
		return entries[0].Err.Error()
	}
	var tps []protocol.TopicPartition
	for number := range entries[0].Partitions {
		tps = append(tps, protocol.TopicPartition{Topic: topic, Partition: number})
	}
	slices.SortFunc(tps, protocol.TopicPartition.Compare)
	states, err := l.admin.PartitionStates(l.ctx, tps)
	l.must(err)
	var out []string
	for _, e := range states {
		if e.Err != nil {
			out = append(out, fmt.Sprintf("%v none", e.TopicPartition))
			continue
		}
		out = append(out, fmt.Sprintf("%v %s controller=%d zv=%d", e.TopicPartition, describeState(e.State), e.State.ControllerEpoch, e.ZkVersion))
	}
	return strings.Join(out, "\n")
}

// write changes a partition's state as leaders of old did.
func (s *scenario) write(t *testing.T, d *datadriven.TestData) string {
	l := s.lab
	var name string
	d.ScanArgs(t, "partition", &name)
	tp, _ := protocol.ParseTopicPartitionDir(name)
	states, err := l.admin.PartitionStates(l.ctx, []protocol.TopicPartition{tp})
	l.must(err)
	state := states[0].State
	state.ISR = idsArg(t, d, "isr")
	d.MaybeScanArgs(t, "leader", &state.Leader)
	d.MaybeScanArgs(t, "controller", &state.ControllerEpoch)
	data, err := state.Encode()
	l.must(err)
	zk := l.admin.Session()
	_, err = zk.Do1(l.ctx, 0, session.Set(zkmeta.PartitionStatePath(tp), data, session.AnyVersion))
	if err == nil && d.HasArg("notify") {
		data, err = zkmeta.EncodeISRChange([]protocol.TopicPartition{tp})
		l.must(err)
		_, err = zk.Do1(l.ctx, 0, session.Create(zkmeta.ISRChangesPath+"/isr_change_", data, session.PersistentSequential))
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// usurp has broker 9 elected in one stroke, as if broker 1's session had been gone
// for a moment.
func (s *scenario) usurp() string {
	l := s.lab
	s.rival = l.connect(l.dial, nil)
	epoch, zkVersion, _, err := l.admin.ControllerEpoch(l.ctx)
	l.must(err)
	data, err := zkmeta.ControllerRegistration{BrokerID: 9, KRaftEpoch: -1}.Encode()
	l.must(err)
	_, err = s.rival.Do1(l.ctx, 0, session.Multi(
		session.Delete(zkmeta.ControllerPath, session.AnyVersion),
		session.Create(zkmeta.ControllerPath, data, session.Ephemeral),
		session.Set(zkmeta.ControllerEpochPath, zkmeta.EncodeControllerEpoch(epoch+1), zkVersion),
	))
	l.must(err)
	return "ok"
}

// assignmentArg reads the replicas of partitions, one partition a line.
func assignmentArg(t *testing.T, d *datadriven.TestData) [][]int32 {
	var assignment [][]int32
	for line := range strings.Lines(d.Input) {
		var replicas []int32
		for text := range strings.SplitSeq(strings.TrimSpace(line), ",") {
			id, err := strconv.Atoi(text)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			replicas = append(replicas, int32(id))
		}
		assignment = append(assignment, replicas)
	}
	return assignment
}

func configArg(d *datadriven.TestData) map[string]string {
	values := map[string]string{}
	for _, arg := range d.CmdArgs {
		if arg.Key == "config" {
			for _, pair := range arg.Vals {
				name, value, _ := strings.Cut(pair, ":")
				values[name] = value
			}
		}
	}
	return values
}
