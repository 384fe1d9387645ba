package peer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeBroker answers on an in-process listener with what handle returns; a nil
// response leaves the request unanswered.
type fakeBroker struct {
	*inproc.Listener
	handle func(n int, h protocol.RequestHeader, req kmsg.Request) kmsg.Response

	mu       sync.Mutex
	requests []string // "key version" in the order of arrival
	conns    []net.Conn
}

func startBroker(t *testing.T, handle func(n int, h protocol.RequestHeader, req kmsg.Request) kmsg.Response) *fakeBroker {
	b := &fakeBroker{Listener: inproc.Listen("broker"), handle: handle}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := b.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns = append(b.conns, c)
			b.mu.Unlock()
			serving.Go(func() { b.serve(t, c) })
		}
	})
	t.Cleanup(func() {
		b.Close()
		b.closeConns()
		serving.Wait()
	})
	return b
}

func (b *fakeBroker) closeConns() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		c.Close()
	}
}

func (b *fakeBroker) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

func (b *fakeBroker) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

func (b *fakeBroker) serve(t *testing.T, c net.Conn) {
	defer c.Close()
	for {
		frame, err := protocol.ReadFrame(c, 1<<20, nil)
		if err != nil {
			return
		}
		h, body, err := protocol.ParseRequestHeader(frame)
		if err != nil {
			t.Error(err)
			return
		}
		req, err := protocol.DecodeRequest(h, body)
		if err != nil {
			t.Error(err)
			return
		}
		b.mu.Lock()
		n := len(b.requests)
		b.requests = append(b.requests, fmt.Sprint(h.Key, " ", h.Version))
		b.mu.Unlock()
		resp := b.handle(n, h, req)
		if resp == nil {
			continue
		}
		out := protocol.AppendResponseHeader(make([]byte, 4), h.Key, h.Version, h.CorrelationID)
		out = resp.AppendTo(out)
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// answer is the empty response to any request.
func answer(_ int, _ protocol.RequestHeader, req kmsg.Request) kmsg.Response {
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if versions, ok := resp.(*kmsg.ApiVersionsResponse); ok {
		for _, key := range []int16{56, 67} {
			versions.ApiKeys = append(versions.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: key, MinVersion: 0, MaxVersion: 2})
		}
	}
	return resp
}

func startPool(t *testing.T, cfg peer.Config) *peer.Pool {
	t.Helper()
	return startPoolWith(t, cfg, cluster.NewView())
}

func startPoolWith(t *testing.T, cfg peer.Config, view *cluster.View) *peer.Pool {
	t.Helper()
	if cfg.DialSelf == nil {
		cfg.DialSelf = func(context.Context) (net.Conn, error) { return nil, errors.New("not dialed in this test") }
	}
	if cfg.Dial == nil {
		cfg.Dial = func(context.Context, cluster.Endpoint) (net.Conn, error) {
			return nil, errors.New("not dialed in this test")
		}
	}
	p, err := peer.New(cfg, view)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}
