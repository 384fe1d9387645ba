// Package hostile attacks a running broker over its sockets and looks at its
// memory, its log and what a client with good manners notices.
package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// A victim is a broker under attack.
type victim struct {
	*harness.Broker
	t     *testing.T
	quiet int // bytes of memory before the attack
}

// attack starts a broker with a topic "t" of one partition. The properties are added
// to its own.
func attack(t *testing.T, properties ...string) *victim {
	t.Helper()
	o := harness.Options{Dirs: []string{filepath.Join(t.TempDir(), "data")}, Properties: append([]string{"auto.create.topics.enable=false"}, properties...)}
	v := &victim{Broker: harness.StartGracchus(t, o), t: t}
	v.create("t")
	c := v.dial()
	defer c.Close()
	for range 50 { // the pools and what else is made once
		v.produce(c, "t", batch(0, []byte("warm")))
	}
	v.quiet = v.Memory("VmRSS")
	return v
}

// expectGrowth fails if the broker has ever had more than that much memory beyond
// what it had at first.
func (v *victim) expectGrowth(most int) {
	v.t.Helper()
	grown := v.Memory("VmHWM") - v.quiet
	v.t.Logf("memory: %d MiB at first, %d MiB more at most", v.quiet>>20, grown>>20)
	if grown > most {
		v.t.Errorf("memory has grown by %d MiB, more than %d", grown>>20, most>>20)
	}
}

func (v *victim) dial() net.Conn {
	v.t.Helper()
	c, err := net.DialTimeout("tcp", v.Addr, patience)
	if err != nil {
		v.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(5 * patience))
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
func (v *victim) request(c net.Conn, req kmsg.Request, version int16) kmsg.Response {
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

func (v *victim) create(topic string, configs ...string) {
	v.t.Helper()
	c := v.dial()
	defer c.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 15000
	one := kmsg.CreateTopicsRequestTopic{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}
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
func (v *victim) produce(c net.Conn, topic string, records []byte) int16 {
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

// A neighbour is a client with good manners: it produces a record and fetches it,
// again and again, at a steady pace.
type neighbour struct {
	v    *victim
	stop chan struct{}
	done sync.WaitGroup
	took []time.Duration
	err  error
}

const pace = 10 * time.Millisecond

func (v *victim) neighbour() *neighbour {
	n := &neighbour{v: v, stop: make(chan struct{})}
	c := v.dial()
	n.done.Go(func() {
		defer c.Close()
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-n.stop:
				return
			case <-tick.C:
			}
			begin := time.Now()
			if n.err = n.once(c); n.err != nil {
				return
			}
			n.took = append(n.took, time.Since(begin))
		}
	})
	return n
}

func (n *neighbour) once(c net.Conn) error {
	produce := produceTo("t", batch(0, []byte("neighbour")))
	produce.SetVersion(9)
	reply, err := ask(c, frame(produce))
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	answer := kmsg.NewPtrProduceResponse()
	answer.SetVersion(9)
	if err := answer.ReadFrom(reply[1:]); err != nil {
		return err
	}
	p := answer.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return fmt.Errorf("produce: error code %d", p.ErrorCode)
	}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(11)
	fetch.MaxWaitMillis, fetch.MinBytes, fetch.MaxBytes, fetch.SessionEpoch = 1000, 1, 1<<20, -1
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = p.BaseOffset, 1<<20
	fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	if reply, err = ask(c, frame(fetch)); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	fetched := kmsg.NewPtrFetchResponse()
	fetched.SetVersion(11)
	if err := fetched.ReadFrom(reply); err != nil {
		return err
	}
	if len(fetched.Topics[0].Partitions[0].RecordBatches) == 0 {
		return errors.New("fetch: no records")
	}
	return nil
}

// end returns how long produce and fetch took: of twenty all but the slowest one,
// and the slowest of all.
func (n *neighbour) end() (most, slowest time.Duration) {
	n.v.t.Helper()
	close(n.stop)
	n.done.Wait()
	if n.err != nil || len(n.took) == 0 {
		n.v.t.Fatalf("the neighbour, after %d rounds: %v", len(n.took), n.err)
	}
	slices.Sort(n.took)
	return n.took[len(n.took)*95/100], n.took[len(n.took)-1]
}

// while runs an attack and fails if the neighbour notices: if it has to wait longer
// than it does in quiet and than a machine that others use explains.
func (v *victim) while(attack func()) {
	v.t.Helper()
	quiet := v.neighbour()
	time.Sleep(time.Second) // a baseline takes a while
	before, _ := quiet.end()
	n := v.neighbour()
	attack()
	during, slowest := n.end()
	v.t.Logf("produce and fetch: %v in quiet, %v meanwhile (19 of 20), %v at most", before.Round(time.Microsecond), during.Round(time.Microsecond), slowest.Round(time.Millisecond))
	if during > 20*before+250*time.Millisecond || slowest > 5*time.Second {
		v.t.Errorf("the neighbour waited %v, in quiet %v, and %v at most", during, before, slowest)
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
