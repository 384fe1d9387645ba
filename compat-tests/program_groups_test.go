package compat

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// The Java consumer and librdkafka in groups whose members come, go and are killed while
// records flow: all are read, and in the end the groups' offsets are the topics' ends.
// GROUPS_ROUNDS is how often a member is killed and another one leaves. (How a broker came
// by its ZooKeeper makes no difference to groups: one target is enough.)
func TestProgramsInGroups(t *testing.T) {
	java := javaMember(t)
	b := startTarget(t, harness.Targets(t)[0], harness.Options{Properties: []string{"group.min.session.timeout.ms=1000"}})
	for _, assignor := range []string{"range", "cooperative"} {
		t.Run("Java, "+assignor, func(t *testing.T) {
			t.Parallel()
			lifeOfPrograms(t, b, "java-"+assignor, func(n int, group, topic string) *exec.Cmd {
				return java(n, b.Addr, group, topic, assignor, killedSession)
			})
		})
		t.Run("librdkafka, "+assignor, func(t *testing.T) {
			python := harness.Fetch(t, "python")
			t.Parallel()
			lifeOfPrograms(t, b, "librdkafka-"+assignor, func(_ int, group, topic string) *exec.Cmd {
				return exec.Command(python, "-W", "ignore", "clients/group_member.py", b.Addr, group, topic, assignor, killedSession)
			})
		})
	}
	t.Run("Java, static", func(t *testing.T) {
		t.Parallel()
		staticPrograms(t, b, func(n int, group, topic, instance string) *exec.Cmd {
			return java(n, b.Addr, group, topic, "range", "30000", instance)
		})
	})
}

// killedSession is how long a group waits for a member that was killed, in milliseconds.
const killedSession = "3000"

// javaMember returns what makes commands of GroupMember. Every second one is a Kafka 4
// client.
func javaMember(t *testing.T) func(n int, args ...string) *exec.Cmd {
	t.Helper()
	program := javaProgram(t, harness.Fetch(t, "kafka"), "GroupMember")
	jars := [2]string{harness.Fetch(t, "kafka"), harness.Fetch(t, "clients-4")}
	return func(n int, args ...string) *exec.Cmd {
		cmd := program(args...)
		for i, arg := range cmd.Args {
			cmd.Args[i] = strings.ReplaceAll(arg, jars[0], jars[n%2])
		}
		return cmd
	}
}

// flow is a topic that records are written to all the time, and a group that reads it.
type flow struct {
	t            *testing.T
	b            *harness.Broker
	topic, group string
	read         *seen
	produced     int
	end          func() // of the writing
}

func startFlow(t *testing.T, b *harness.Broker, name string) *flow {
	t.Helper()
	f := &flow{t: t, b: b, topic: name + "-topic", group: name + "-group", read: &seen{records: map[[2]int64]bool{}}}
	createTopic(t, b, f.topic, groupPartitions, nil)
	producer := franz(t, b)
	f.end = inBackground(t, func(ctx context.Context) {
		for ctx.Err() == nil {
			var some []*kgo.Record
			for p := range int32(groupPartitions) {
				some = append(some, &kgo.Record{Topic: f.topic, Partition: p, Value: []byte("a record")})
			}
			if err := producer.ProduceSync(context.Background(), some...).FirstErr(); err != nil {
				t.Errorf("produce: %v", err)
				return
			}
			f.produced += len(some)
			select {
			case <-ctx.Done():
			case <-time.After(25 * time.Millisecond):
			}
		}
	})
	return f
}

// finish ends the writing, has the last member read all and leave, and looks at what the
// group has committed.
func (f *flow) finish(last *programMember) {
	f.t.Helper()
	f.end()
	waitUntil(f.t, fmt.Sprintf("group %s has read %d records", f.group, f.produced), func() bool { return f.read.count() == f.produced })
	last.leave()
	admin := kadm.NewClient(franz(f.t, f.b))
	committed, err := admin.FetchOffsets(within(f.t, 20*time.Second), f.group)
	if err != nil {
		f.t.Fatal(err)
	}
	for p := range int32(groupPartitions) {
		if o, ok := committed.Lookup(f.topic, p); !ok || o.Err != nil || o.At != int64(f.produced/groupPartitions) {
			f.t.Errorf("%s has committed %d in partition %d, %v; there are %d records", f.group, o.At, p, o.Err, f.produced/groupPartitions)
		}
	}
	f.t.Logf("%d records, %d times one was processed again", f.produced, f.read.again)
}

// programMember is a program that is a member of a group.
type programMember struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when its output is read

	mu      sync.Mutex
	records int
	events  []string // what it has said besides
}

func (f *flow) member(name string, cmd *exec.Cmd) *programMember {
	f.t.Helper()
	m := &programMember{t: f.t, name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-m.done
		_ = cmd.Wait()
	})
	go func() {
		defer close(m.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			m.hear(lines.Text(), f.read)
		}
	}()
	return m
}

func (m *programMember) hear(line string, read *seen) {
	m.mu.Lock()
	defer m.mu.Unlock()
	word, rest, _ := strings.Cut(line, " ")
	if word != "record" {
		m.events = append(m.events, line)
		return
	}
	var partition int32
	var offset int64
	if n, err := fmt.Sscan(rest, &partition, &offset); n == 2 && err == nil { // what is killed may end within a line
		m.records++
		read.add(partition, offset)
	}
}

// isReading waits until a member has processed records that it was not yet when called.
func (m *programMember) isReading() {
	m.t.Helper()
	count := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.records
	}
	before := count()
	waitUntil(m.t, m.name+" reads", func() bool { return count() > before })
}

// leave has a member end by itself.
func (m *programMember) leave() {
	m.t.Helper()
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	<-m.done
	_ = m.cmd.Wait() // Java's ends with 143
	if events := m.said(); len(events) == 0 || events[len(events)-1] != "closed 0" {
		m.t.Errorf("%s did not end well: %q", m.name, events)
	}
}

func (m *programMember) kill() {
	_ = m.cmd.Process.Kill()
	<-m.done
	_ = m.cmd.Wait()
}

func (m *programMember) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// lifeOfPrograms has members come, one be killed and one leave, again and again.
func lifeOfPrograms(t *testing.T, b *harness.Broker, name string, start func(n int, group, topic string) *exec.Cmd) {
	f := startFlow(t, b, name)
	n := 0
	come := func() *programMember {
		t.Helper()
		m := f.member(name+" "+strconv.Itoa(n), start(n, f.group, f.topic))
		n++
		m.isReading()
		return m
	}
	stays := come()
	for range harness.FromEnvironment(t, "GROUPS_ROUNDS", 1) {
		killed := come()
		stays.isReading()
		killed.kill()
		newcomer := come()
		stays.leave()
		newcomer.isReading()
		stays = newcomer
	}
	f.finish(stays)
}

// staticPrograms has a static member come back, after it has ended and after it was
// killed: nobody is assigned anything anew, and the generation stays.
func staticPrograms(t *testing.T, b *harness.Broker, start func(n int, group, topic, instance string) *exec.Cmd) {
	f := startFlow(t, b, "static")
	n := 0
	come := func(instance string) *programMember {
		t.Helper()
		m := f.member(instance, start(n, f.group, f.topic, instance))
		n++
		m.isReading()
		return m
	}
	one := come("one")
	other := come("other")
	one.isReading()
	had, otherHad := one.said(), other.said()
	assigned := had[len(had)-1]
	for range harness.FromEnvironment(t, "GROUPS_ROUNDS", 1) {
		for _, end := range []func(*programMember){(*programMember).leave, (*programMember).kill} {
			end(one)
			other.isReading()
			one = come("one")
			if said := one.said(); !slices.Equal(said, []string{assigned}) {
				t.Errorf("the member that came back was told %q, before it was %q", said, assigned)
			}
		}
	}
	if said := other.said(); !slices.Equal(said, otherHad) {
		t.Errorf("the other member was told %q, of which the first ones were %q before", said, otherHad)
	}
	f.end()
	waitUntil(t, "all is read", func() bool { return f.read.count() == f.produced })
	one.leave()
	f.finish(other)
}
