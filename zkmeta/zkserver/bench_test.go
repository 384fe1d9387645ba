package zkserver_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// startPipe runs a server on the store, and returns it with a dial function
// for connections in this process.
func startPipe(t testing.TB, cfg zkserver.Config, store zkserver.Store) (*zkserver.Server, func() *rawClient) {
	t.Helper()
	s, err := zkserver.New(cfg, store)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, servePipe(t, s.Serve)
}

// servePipe has connections in this process served, and returns what makes them.
func servePipe(t testing.TB, serve func(net.Listener) error) func() *rawClient {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	go serve(l) //nolint:errcheck // ends with the server
	return func() *rawClient {
		client, server := net.Pipe()
		t.Cleanup(func() { client.Close() })
		select {
		case l.conns <- server:
		case <-l.closed:
			server.Close()
		}
		return newRawClient(client)
	}
}

// createTopics makes topics of many partitions as a controller does: the topic
// node and its directory, and for each partition two nodes, in multis under a
// check of the controller's epoch; inFlight requests are sent ahead.
func createTopics(t testing.TB, c *rawClient, base string, partitions, inFlight int) (znodes int) {
	t.Helper()
	const perTopic = 100
	check := zkproto.Operation{Op: zkproto.OpCheck, Request: &zkproto.CheckVersionRequest{Path: base + "/controller_epoch", Version: 0}}
	create := func(path string, data []byte) zkproto.Operation {
		return zkproto.Operation{Op: zkproto.OpCreate, Request: createRequest(path, data, 0)}
	}
	c.mustDo(t, zkproto.OpCreate, createRequest(base, nil, 0))
	c.mustDo(t, zkproto.OpCreate, createRequest(base+"/controller_epoch", []byte("1"), 0))
	var requests []*zkproto.MultiRequest
	multi := func(ops ...zkproto.Operation) {
		requests = append(requests, &zkproto.MultiRequest{Ops: append([]zkproto.Operation{check}, ops...)})
		znodes += len(ops)
	}
	state := []byte(`{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1]}`)
	for p := range partitions {
		topic := fmt.Sprintf("%s/topic-%04d", base, p/perTopic)
		if p%perTopic == 0 {
			multi(create(topic, make([]byte, 20*perTopic)))
			multi(create(topic+"/partitions", nil))
		}
		multi(create(fmt.Sprintf("%s/partitions/%d", topic, p%perTopic), nil))
		multi(create(fmt.Sprintf("%s/partitions/%d/state", topic, p%perTopic), state))
		multi(zkproto.Operation{Op: zkproto.OpSetData, Request: &zkproto.SetDataRequest{
			Path: fmt.Sprintf("%s/partitions/%d/state", topic, p%perTopic), Data: state, Version: 0}})
		znodes--
	}
	window := make(chan struct{}, inFlight)
	sent := make(chan error, 1)
	go func() {
		for _, r := range requests {
			window <- struct{}{}
			if _, err := c.send(zkproto.OpMulti, r); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for range requests {
		frame, err := zkproto.ReadFrame(c.in, 1<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-window
		_, body, err := zkproto.ParseReply(frame)
		resp := &zkproto.MultiResponse{}
		if err == nil {
			err = zkproto.Unmarshal(body, resp)
		}
		if err == nil {
			_, err = resp.Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return znodes
}

// BenchmarkCreatePartitions creates 10,000 partitions, 20,200 nodes by 30,200
// multis, on disk.
func BenchmarkCreatePartitions(b *testing.B) {
	for _, inFlight := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("inFlight=%d", inFlight), func(b *testing.B) {
			if inFlight == 1 && testing.Short() {
				b.Skip("short")
			}
			store, err := zkserver.OpenBolt(filepath.Join(b.TempDir(), "zookeeper.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			s, dial := startPipe(b, zkserver.Config{}, store)
			defer s.Stop(context.Background()) //nolint:errcheck // before the store is closed
			c := dial()
			if _, err := c.connect(zkproto.ConnectRequest{TimeoutMS: 40000}); err != nil {
				b.Fatal(err)
			}
			const partitions = 10_000
			n := 0
			for b.Loop() {
				createTopics(b, c, fmt.Sprintf("/run%d", n), partitions, inFlight)
				n++
			}
			b.ReportMetric(float64(n*partitions)/b.Elapsed().Seconds(), "partitions/s")
		})
	}
}

// pipeListener accepts what is sent to it.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
