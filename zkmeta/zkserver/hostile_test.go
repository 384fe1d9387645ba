package zkserver_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// Many requests ahead, from several clients at once: every reply comes, in
// order, and is the right one.
func TestPipelinedReplies(t *testing.T) {
	_, dial := startPipe(t, zkserver.Config{MaxOutstanding: 50}, zkserver.NewMemStore())
	var wg sync.WaitGroup
	for i := range 4 {
		c := connected(t, dial(), 40*time.Second)
		const n = 2000
		paths := make([]string, n)
		var frames [][]byte
		for j := range n {
			paths[j] = fmt.Sprintf("/%d-%d-%s", i, j, strings.Repeat("x", j%97))
			frames = append(frames, zkproto.AppendRequest(nil, zkproto.RequestHeader{XID: int32(j), Op: zkproto.OpCreate}, createRequest(paths[j], nil, 0)))
		}
		wg.Go(func() {
			for _, f := range frames {
				if _, err := c.nc.Write(f); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			for j := range n {
				frame, err := zkproto.ReadFrame(c.in, 1<<20, nil)
				if err != nil {
					t.Error(err)
					return
				}
				h, body, err := zkproto.ParseReply(frame)
				var made zkproto.PathResponse
				if err == nil {
					err = zkproto.Unmarshal(body, &made)
				}
				if err != nil || h.XID != int32(j) || h.Err != 0 || made.Path != paths[j] {
					t.Errorf("client %d, reply %d: %+v %q %v", i, j, h, made.Path, err)
					return
				}
				if j%100 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
}

// A client that asks for much and reads nothing stops at its own limits, and
// its session expires since it is not heard any more; others do not notice.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gateStore{MemStore: zkserver.NewMemStore()}
		_, dial := startPipe(t, zkserver.Config{}, store)
		other := connected(t, dial(), 40*time.Second)
		other.mustDo(t, zkproto.OpCreate, createRequest("/big", make([]byte, 1<<19), 0))
		greedy := connected(t, dial(), 40*time.Second)
		heap := heapBytes()
		// Its requests gather during a commit, to be served at one go.
		store.delay.Store(int64(time.Second))
		if _, err := other.send(zkproto.OpSetData, &zkproto.SetDataRequest{Path: "/", Version: -1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		sent := 0
		stuck := make(chan struct{})
		go func() {
			defer close(stuck)
			for {
				if _, err := greedy.send(zkproto.OpGetData, &zkproto.PathWatchRequest{Path: "/big"}); err != nil {
					return
				}
				sent++
			}
		}()
		if m, err := other.receive(); err != nil || m.header.Err != 0 {
			t.Fatal(m, err)
		}
		synctest.Wait()
		if sent > 1100 || sent < 2 {
			t.Errorf("%d requests were taken from a client that reads nothing", sent)
		}
		if grown := heapBytes() - heap; grown > 16<<20 {
			t.Errorf("%d bytes are held for a client that reads nothing", grown)
		}
		for range 3 {
			time.Sleep(15 * time.Second)
			other.mustDo(t, zkproto.OpPing, nil)
		}
		<-stuck
	})
}

// A client that is only slow gets every reply.
func TestSlowClientGetsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
		c := connected(t, dial(), 40*time.Second)
		c.mustDo(t, zkproto.OpCreate, createRequest("/big", make([]byte, 1<<19), 0))
		const n = 30
		var frames []byte
		for i := range int32(n) {
			frames = zkproto.AppendRequest(frames, zkproto.RequestHeader{XID: 100 + i, Op: zkproto.OpGetData}, &zkproto.PathWatchRequest{Path: "/big"})
		}
		if _, err := c.nc.Write(frames); err != nil {
			t.Fatal(err)
		}
		for i := range int32(n) {
			synctest.Wait()
			time.Sleep(time.Second)
			if m, err := c.receive(); err != nil || m.header.XID != 100+i {
				t.Fatalf("reply %d: %+v %v", i, m.header, err)
			}
		}
	})
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// While a commit takes its time, a client gets rid of so many requests, and so
// many bytes, and no more.
func TestRequestsAheadAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name           string
		size, most     int
		readsInstead   bool
		maxOutstanding int
		owner          bool
	}{
		{name: "number", readsInstead: true, maxOutstanding: 100, most: 100},
		{name: "bytes", size: 12_500, most: 14, maxOutstanding: 1000},
		{name: "the owner's bytes", size: 100_000, most: 14, maxOutstanding: 1000, owner: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &gateStore{MemStore: zkserver.NewMemStore()}
				s, dial := startPipe(t, zkserver.Config{MaxOutstanding: tt.maxOutstanding}, store)
				if tt.owner {
					dial = servePipe(t, s.ServeOwner)
				}
				c := connected(t, dial(), 40*time.Second)
				store.gate = make(chan struct{})
				box := collect(c)
				if _, err := c.send(zkproto.OpSetData, &zkproto.SetDataRequest{Path: "/", Version: -1}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the loop is in the commit
				frame := zkproto.AppendRequest(nil, zkproto.RequestHeader{XID: 9, Op: zkproto.OpSetData}, &zkproto.SetDataRequest{Path: "/", Data: make([]byte, tt.size), Version: -1})
				if tt.readsInstead {
					// Larger than what the reader reads ahead.
					frame = zkproto.AppendRequest(nil, zkproto.RequestHeader{XID: 9, Op: zkproto.OpExists}, &zkproto.PathWatchRequest{Path: "/" + strings.Repeat("x", 1000)})
				}
				var sent atomic.Int64
				go func() {
					for {
						if _, err := c.nc.Write(frame); err != nil {
							return
						}
						sent.Add(1)
					}
				}()
				synctest.Wait()
				// Beside the bound, what the reader's buffer holds.
				if n := int(sent.Load()); n < tt.most/2 || n > tt.most+20 {
					t.Errorf("%d requests were taken, want about %d", n, tt.most)
				}
				c.nc.Close()
				close(store.gate)
				synctest.Wait()
				_ = box
			})
		})
	}
}

// A client that watches much and reads nothing is disconnected.
func TestClientThatDoesNotReadItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
		busy, deaf := connected(t, dial(), 40*time.Second), connected(t, dial(), 40*time.Second)
		name := "/" + strings.Repeat("n", 8000)
		busy.mustDo(t, zkproto.OpCreate, createRequest(name, nil, 0))
		deaf.mustDo(t, zkproto.OpAddWatch, &zkproto.AddWatchRequest{Path: name})
		n := 0
		for ; n < 5000; n++ {
			busy.mustDo(t, zkproto.OpSetData, &zkproto.SetDataRequest{Path: name, Version: -1})
			if n%50 == 0 && watching(t, dial()) == 0 {
				break
			}
		}
		if n < 100 || n == 5000 {
			t.Errorf("disconnected after %d events of 8 kB", n)
		}
		if _, err := deaf.do(zkproto.OpPing, nil, nil); !closed(err) {
			t.Errorf("ping: %v", err)
		}
	})
}

// watching asks by a four-letter word how many watches there are.
func watching(t *testing.T, c *rawClient) int {
	t.Helper()
	if _, err := c.nc.Write([]byte("mntr")); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(c.in)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "zk_watch_count\t")
	n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLimits(t *testing.T) {
	cfg := zkserver.Config{MaxConnections: 3, MaxSessions: 4, MaxRequestBytes: 4096, MaxWatchBytes: 5000}
	synctest.Test(t, func(t *testing.T) {
		_, dial := startPipe(t, cfg, zkserver.NewMemStore())
		a, b := connected(t, dial(), 40*time.Second), connected(t, dial(), 40*time.Second)
		c := connected(t, dial(), 40*time.Second)
		if _, err := dial().connect(zkproto.ConnectRequest{TimeoutMS: 4000}); !closed(err) {
			t.Errorf("a connection beyond the limit: %v", err)
		}
		c.nc.Close()
		synctest.Wait()
		d := connected(t, dial(), 40*time.Second)
		d.nc.Close()
		synctest.Wait()
		if _, err := dial().connect(zkproto.ConnectRequest{TimeoutMS: 4000}); !closed(err) {
			t.Errorf("a session beyond the limit: %v", err)
		}
		synctest.Wait()
		if resp, err := resume(dial(), d, 40*time.Second); err != nil || resp.SessionID != d.session.SessionID {
			t.Errorf("resuming at the limit: %+v %v", resp, err)
		}
		a.mustDo(t, zkproto.OpCreate, createRequest("/x", make([]byte, 4000), 0))
		if _, err := a.do(zkproto.OpCreate, createRequest("/y", make([]byte, 4096), 0), nil); !closed(err) {
			t.Errorf("a request beyond the limit: %v", err)
		}
		for i := range 100 {
			if _, err := b.do(zkproto.OpExists, &zkproto.PathWatchRequest{Path: fmt.Sprintf("/%d", i), Watch: true}, nil); closed(err) {
				if i < 10 {
					t.Errorf("disconnected at %d watches", i)
				}
				return
			}
		}
		t.Error("100 watches were taken")
	})
}

// When all watches together are too many, the client with the most of them goes, and
// never the owner.
func TestWatchesAreBoundedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startPipe(t, zkserver.Config{MaxWatchBytes: 5000}, zkserver.NewMemStore())
		owner, few, many := connected(t, servePipe(t, s.ServeOwner)(), 40*time.Second), connected(t, dial(), 40*time.Second), connected(t, dial(), 40*time.Second)
		watch := func(c *rawClient, from, n int) {
			t.Helper()
			for i := range n {
				if _, err := c.do(zkproto.OpExists, &zkproto.PathWatchRequest{Path: fmt.Sprintf("/%d", from+i), Watch: true}, nil); closed(err) {
					t.Fatalf("disconnected at watch %d", i)
				}
			}
		}
		watch(owner, 0, 100)
		watch(few, 0, 3)
		watch(many, 0, 13)
		watch(few, 3, 3) // of which the first is one too many
		if _, err := many.do(zkproto.OpPing, nil, nil); !closed(err) {
			t.Errorf("the client with the most watches: %v", err)
		}
		if n := watching(t, dial()); n != 106 {
			t.Errorf("%d watches are left, want 106", n)
		}
	})
}

// Strangers that take all connections and sessions there are do not stand in the
// way of the owner.
func TestOwnerHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startPipe(t, zkserver.Config{MaxConnections: 3, MaxSessions: 3}, zkserver.NewMemStore())
		own := servePipe(t, s.ServeOwner)
		for range 3 {
			connected(t, dial(), 40*time.Second)
		}
		if _, err := dial().connect(zkproto.ConnectRequest{TimeoutMS: 4000}); !closed(err) {
			t.Errorf("a stranger beyond the limit: %v", err)
		}
		for range 5 {
			connected(t, own(), 40*time.Second).mustDo(t, zkproto.OpPing, nil)
		}
	})
}

// However many strangers are refused, the log tells of the first, and then of a number.
func TestFloodOfRefusals(t *testing.T) {
	for what, cfg := range map[string]zkserver.Config{
		"too many connections": {MaxConnections: 1, MaxSessions: 100},
		"too many sessions":    {MaxConnections: 100, MaxSessions: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			_, dial := startPipe(t, cfg, zkserver.NewMemStore())
			connected(t, dial(), 40*time.Second)
			refused := func(n int) {
				t.Helper()
				for range n {
					if _, err := dial().connect(zkproto.ConnectRequest{TimeoutMS: 4000}); !closed(err) {
						t.Errorf("%s: %v", what, err)
					}
				}
				synctest.Wait()
			}
			refused(3 * loglimit.Lines)
			if n := strings.Count(log.String(), what); n != loglimit.Lines {
				t.Errorf("%s: %d lines", what, n)
			}
			time.Sleep(loglimit.Window)
			refused(1)
			if want := fmt.Sprintf("others_refused=%d", 2*loglimit.Lines); !strings.Contains(log.String(), want) {
				t.Errorf("%s: the log does not say %s:\n%s", what, want, log.String())
			}
		})
	}
}

// One request must not make an answer thousands of times its size.
func TestMultiReadIsBounded(t *testing.T) {
	_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
	c := connected(t, dial(), 40*time.Second)
	c.mustDo(t, zkproto.OpCreate, createRequest("/big", make([]byte, 1<<20-1000), 0))
	m := &zkproto.MultiRequest{}
	for range 1000 {
		m.Ops = append(m.Ops, zkproto.Operation{Op: zkproto.OpGetData, Request: &zkproto.PathWatchRequest{Path: "/big"}})
	}
	if _, err := c.do(zkproto.OpMultiRead, m, nil); !errors.Is(err, zkproto.ErrMarshalling) {
		t.Errorf("1000 MiB: %v", err)
	}
	m.Ops = m.Ops[:10]
	if m, err := c.do(zkproto.OpMultiRead, m, nil); err != nil || len(m.body.(*zkproto.MultiResponse).Results) != 10 {
		t.Errorf("10 MiB: %v", err)
	}
}

func TestLongPaths(t *testing.T) {
	_, dial := startPipe(t, zkserver.Config{}, openBolt(t, t.TempDir()+"/zk"))
	c := connected(t, dial(), 40*time.Second)
	c.mustDo(t, zkproto.OpCreate, createRequest("/"+strings.Repeat("p", 16000), nil, 0))
	for _, n := range []int{16 << 10, 40_000, 1 << 19} {
		if _, err := c.do(zkproto.OpCreate, createRequest("/"+strings.Repeat("p", n), nil, 0), nil); !errors.Is(err, zkproto.ErrBadArguments) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	c.mustDo(t, zkproto.OpPing, nil)
}

// Bytes of any kind end a connection or are answered, and harm no one else.
func TestNoise(t *testing.T) {
	_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
	witness := connected(t, dial(), 40*time.Second)
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		c := dial()
		if round%4 != 0 {
			connected(t, c, 4*time.Second)
		}
		_ = c.nc.SetDeadline(time.Now().Add(5 * time.Second))
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := c.nc.Read(buf); err != nil {
					return
				}
			}
		}()
		for range 20 {
			body := make([]byte, rng.IntN(60))
			for i := range body {
				body[i] = byte(rng.IntN(256)) & byte(rng.IntN(256)) & byte(rng.IntN(256))
			}
			frame := zkproto.AppendInt(nil, int32(len(body)+8))
			frame = zkproto.AppendInt(frame, int32(rng.IntN(100)))
			frame = zkproto.AppendInt(frame, int32(rng.IntN(115)-5))
			if _, err := c.nc.Write(append(frame, body...)); err != nil {
				break
			}
		}
		c.nc.Close()
	}
	witness.mustDo(t, zkproto.OpPing, nil)
}

func TestConfigIsChecked(t *testing.T) {
	store := zkserver.NewMemStore()
	for name, cfg := range map[string]zkserver.Config{
		"tick":        {TickTime: -1},
		"min timeout": {MinSessionTimeout: time.Hour},
		"max timeout": {MaxSessionTimeout: 48 * time.Hour},
		"request":     {MaxRequestBytes: 10},
		"request+":    {MaxRequestBytes: 1 << 30},
		"connections": {MaxConnections: -1},
		"outstanding": {MaxOutstanding: -1},
	} {
		if _, err := zkserver.New(cfg, store); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := zkserver.New(zkserver.Config{}, nil); err == nil {
		t.Error("no store: no error")
	}
}

func TestLifecycle(t *testing.T) {
	s, err := zkserver.New(zkserver.Config{}, zkserver.NewMemStore())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); !errors.Is(err, zkserver.ErrStopped) {
		t.Errorf("Serve before Start: %v", err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("started twice")
	}
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- s.Serve(l) }()
	c := connected(t, rawDial(t, l.Addr().String()), 10*time.Second)
	l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve of a closed listener: %v", err)
	}
	c.mustDo(t, zkproto.OpPing, nil) // connections stay
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	<-s.Done()
	if !errors.Is(s.Err(), zkserver.ErrStopped) {
		t.Error(s.Err())
	}
	if _, err := c.do(zkproto.OpPing, nil, nil); !closed(err) {
		t.Errorf("ping after Stop: %v", err)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("started after Stop")
	}
	never, err := zkserver.New(zkserver.Config{}, zkserver.NewMemStore())
	if err != nil {
		t.Fatal(err)
	}
	if err := never.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-never.Done()
}

func TestDataIsCopied(t *testing.T) {
	_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
	c := connected(t, dial(), 40*time.Second)
	for i := range 100 {
		c.mustDo(t, zkproto.OpCreate, createRequest(fmt.Sprintf("/%d", i), bytes.Repeat([]byte{byte(i)}, 1000), 0))
	}
	for i := range 100 {
		got := c.mustDo(t, zkproto.OpGetData, &zkproto.PathWatchRequest{Path: fmt.Sprintf("/%d", i)}).body.(*zkproto.GetDataResponse)
		if !bytes.Equal(got.Data, bytes.Repeat([]byte{byte(i)}, 1000)) {
			t.Errorf("/%d: %x", i, got.Data[:10])
		}
	}
}
