// Package hostile attacks a running broker over its sockets and looks at its
// memory, its log and what a client with good manners notices.
package hostile

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// patience is how long anything may take that has to happen.
const patience = 30 * time.Second

// What the issue allows.
const (
	oneFrame    = 64 << 20  // growth by one frame
	manyClients = 256 << 20 // growth by ten thousand connections
)

// A target is a broker as who attacks it sees it.
type target struct {
	t     tb
	addr  string
	pid   int
	quiet int // bytes of memory before the attack
}

// tb is what a target needs of a test. An attacker, which is none, has it too.
type tb interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// A victim is a broker under attack.
type victim struct {
	*harness.Broker
	target
	t *testing.T
}

// start starts a broker with a topic "t" of one partition. The properties are added
// to its own.
func start(t *testing.T, properties ...string) *victim {
	t.Helper()
	o := harness.Options{Dirs: []string{filepath.Join(t.TempDir(), "data")}, Properties: append([]string{"auto.create.topics.enable=false"}, properties...)}
	broker := harness.StartGracchus(t, o)
	v := &victim{Broker: broker, t: t, target: target{t: t, addr: broker.Addr, pid: broker.Pid()}}
	v.create("t", "retention.ms=-1") // the records are old
	c := v.dial()
	defer c.Close()
	for range 50 { // the pools and what else is made once
		v.produce(c, "t", batch(0, []byte("warm")))
	}
	v.quiet = v.Memory("VmRSS")
	return v
}

// grown is how much more memory the broker has had at most than before the attack.
func (v *target) grown() int {
	v.t.Helper()
	most, err := harness.MemoryOf(v.pid, "VmHWM")
	if err != nil {
		v.t.Fatal(err)
	}
	return most - v.quiet
}

// expectGrowth fails if the broker has ever had more than that much memory beyond
// what it had at first.
func (v *victim) expectGrowth(most int) {
	v.t.Helper()
	grown := v.grown()
	v.t.Logf("memory: %d MiB at first, %d MiB more at most", v.quiet>>20, grown>>20)
	if grown > most {
		v.t.Errorf("memory has grown by %d MiB, more than %d", grown>>20, most>>20)
	}
}

func (v *target) dial() net.Conn {
	v.t.Helper()
	c, err := net.DialTimeout("tcp", v.addr, patience)
	if err != nil {
		v.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(5 * patience))
	return c
}

// dialFrom is dial for many: ports are scarce, so the i-th of them comes from another
// address than its neighbours.
func (v *target) dialFrom(i int) net.Conn {
	v.t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}, Timeout: patience}
	c, err := from.Dial("tcp", v.addr)
	if err != nil {
		v.t.Fatalf("connection %d: %v", i, err)
	}
	return c
}

// ask sends a frame and returns the reply, without its size and correlation id.
func ask(c net.Conn, frame []byte) ([]byte, error) {
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(frame)
		sent <- err
	}()
	reply, err := receive(c)
	return reply, errors.Join(err, <-sent)
}

func receive(c net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, reply); err != nil {
		return nil, err
	}
	return reply[4:], nil
}

// request sends a request and decodes what comes back.
func (v *target) request(c net.Conn, req kmsg.Request, version int16) kmsg.Response {
	v.t.Helper()
	req.SetVersion(version)
	reply, err := ask(c, frame(req))
	if err != nil {
		v.t.Fatalf("%s: %v", kmsg.NameForKey(req.Key()), err)
	}
	if req.IsFlexible() && req.Key() != 18 {
		reply = reply[1:]
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	if err := resp.ReadFrom(reply); err != nil {
		v.t.Fatalf("%s: %v", kmsg.NameForKey(req.Key()), err)
	}
	return resp
}

func (v *target) create(topic string, configs ...string) {
	v.t.Helper()
	v.createPartitioned(topic, 1, configs...)
}

func (v *target) createPartitioned(topic string, partitions int32, configs ...string) {
	v.t.Helper()
	c := v.dial()
	defer c.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 15000
	one := kmsg.CreateTopicsRequestTopic{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}
	for _, nameValue := range configs {
		name, value, _ := strings.Cut(nameValue, "=")
		one.Configs = append(one.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	req.Topics = append(req.Topics, one)
	if made := v.request(c, req, 7).(*kmsg.CreateTopicsResponse).Topics[0]; made.ErrorCode != 0 {
		v.t.Fatalf("create %s: error code %d", topic, made.ErrorCode)
	}
}

// produce returns the error code.
func (v *target) produce(c net.Conn, topic string, records []byte) int16 {
	v.t.Helper()
	return v.request(c, produceTo(topic, records), 9).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
}

func produceTo(topic string, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = records
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{p}}}
	return req
}

// expectStop stops the broker, which must not take the time of those who attack it.
func (v *victim) expectStop() {
	v.t.Helper()
	begin := time.Now()
	v.StopCleanly(v.t)
	if took := time.Since(begin); took > 20*time.Second {
		v.t.Errorf("stopping took %v", took)
	}
}

// lines counts the lines of the broker's log that have all the words.
func (v *victim) lines(words ...string) (n int) {
	for l := range strings.Lines(v.Output()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(l, w) }) {
			n++
		}
	}
	return n
}

// waitLines waits for exactly that many.
func (v *victim) waitLines(want int, words ...string) {
	v.t.Helper()
	for deadline := time.Now().Add(patience); v.lines(words...) < want && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if got := v.lines(words...); got != want {
		v.t.Errorf("%d lines with %q, want %d:\n%s", got, words, want, v.Tail(10))
	}
}
