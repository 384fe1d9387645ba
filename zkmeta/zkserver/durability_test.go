package zkserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// gateStore is a MemStore whose commits can be held, counted, and made to fail.
type gateStore struct {
	*zkserver.MemStore
	gate  chan struct{} // a commit takes one token, if not nil
	delay atomic.Int64  // how long a commit takes, in nanoseconds

	mu      sync.Mutex
	commits int
	failAt  int  // the commit that fails, counted from 1; 0 is none
	applied bool // whether the failing commit is in the store all the same
}

var errDisk = errors.New("disk on fire")

func (s *gateStore) Commit(changes []zkserver.Change) error {
	if s.gate != nil {
		<-s.gate
	}
	time.Sleep(time.Duration(s.delay.Load()))
	s.mu.Lock()
	s.commits++
	fail, applied := s.commits == s.failAt, s.applied
	s.mu.Unlock()
	if !fail || applied {
		if err := s.MemStore.Commit(changes); err != nil {
			return err
		}
	}
	if fail {
		return errDisk
	}
	return nil
}

func (s *gateStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits
}

func connected(t testing.TB, c *rawClient, timeout time.Duration) *rawClient {
	t.Helper()
	resp, err := c.connect(zkproto.ConnectRequest{TimeoutMS: int32(timeout.Milliseconds())})
	if err != nil || resp.SessionID == 0 {
		t.Fatalf("connect: %+v %v", resp, err)
	}
	return c
}

// inbox collects what a client receives, in the background.
type inbox struct {
	mu  sync.Mutex
	got []message
	err error
}

func collect(c *rawClient) *inbox {
	in := &inbox{}
	go func() {
		for {
			m, err := c.receive()
			in.mu.Lock()
			if err != nil {
				in.err = err
				in.mu.Unlock()
				return
			}
			in.got = append(in.got, m)
			in.mu.Unlock()
		}
	}()
	return in
}

func (in *inbox) len() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.got)
}

func (in *inbox) ended() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err != nil
}

func TestNothingIsHeardBeforeTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gateStore{MemStore: zkserver.NewMemStore()}
		_, dial := startPipe(t, zkserver.Config{}, store)
		writer, reader := connected(t, dial(), time.Hour), connected(t, dial(), time.Hour)
		reader.mustDo(t, zkproto.OpGetChildren, &zkproto.PathWatchRequest{Path: "/", Watch: true})
		store.gate = make(chan struct{})
		written, read := collect(writer), collect(reader)
		if _, err := writer.send(zkproto.OpCreate, createRequest("/a", nil, 0)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := reader.send(zkproto.OpExists, &zkproto.PathWatchRequest{Path: "/a"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if written.len() != 0 || read.len() != 0 {
			t.Fatalf("before the commit, the writer heard %d and the reader %d messages", written.len(), read.len())
		}
		close(store.gate)
		synctest.Wait()
		if written.len() != 1 || read.len() != 2 {
			t.Fatalf("after the commit, the writer heard %d and the reader %d messages", written.len(), read.len())
		}
		if read.got[0].event == nil || read.got[1].header.Err != 0 {
			t.Errorf("the reader heard %+v", read.got)
		}
	})
}

func TestWritersShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gateStore{MemStore: zkserver.NewMemStore()}
		_, dial := startPipe(t, zkserver.Config{}, store)
		var clients []*rawClient
		for range 20 {
			clients = append(clients, connected(t, dial(), time.Hour))
		}
		before := store.count()
		store.gate = make(chan struct{})
		var boxes []*inbox
		for i, c := range clients {
			boxes = append(boxes, collect(c))
			for j := range 10 {
				if _, err := c.send(zkproto.OpCreate, createRequest(fmt.Sprintf("/%d-%d", i, j), nil, 0)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		close(store.gate)
		synctest.Wait()
		for i, b := range boxes {
			if b.len() != 10 {
				t.Errorf("client %d heard %d replies", i, b.len())
			}
			for j, m := range b.got {
				if m.header.XID != int32(j+1) || m.header.Err != 0 {
					t.Errorf("client %d, reply %d: %+v", i, j, m.header)
				}
			}
		}
		if n := store.count() - before; n != 2 {
			t.Errorf("%d commits for 200 writes, want the first one's and one for all others", n)
		}
	})
}

func TestReadsDoNotCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gateStore{MemStore: zkserver.NewMemStore()}
		_, dial := startPipe(t, zkserver.Config{}, store)
		c := connected(t, dial(), time.Hour)
		before := store.count()
		c.mustDo(t, zkproto.OpPing, nil)
		c.mustDo(t, zkproto.OpGetData, &zkproto.PathWatchRequest{Path: "/", Watch: true})
		if _, err := c.do(zkproto.OpCreate, createRequest("/", nil, 0), nil); !errors.Is(err, zkproto.ErrNodeExists) {
			t.Error(err)
		}
		if n := store.count() - before; n != 0 {
			t.Errorf("%d commits", n)
		}
	})
}

func TestFailedCommitEndsTheServer(t *testing.T) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%v", applied), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &gateStore{MemStore: zkserver.NewMemStore(), failAt: 4, applied: applied}
				s, dial := startPipe(t, zkserver.Config{}, store)
				writer, reader := connected(t, dial(), time.Hour), connected(t, dial(), time.Hour)
				if s.Err() != nil {
					t.Error(s.Err())
				}
				written, read := collect(writer), collect(reader)
				if _, err := writer.send(zkproto.OpCreate, createRequest("/a", nil, 2)); err != nil {
					t.Fatal(err)
				}
				<-s.Done()
				synctest.Wait()
				if !errors.Is(s.Err(), errDisk) {
					t.Errorf("Err: %v", s.Err())
				}
				if written.len() != 0 || !written.ended() || read.len() != 0 || !read.ended() {
					t.Errorf("heard %d and %d replies", written.len(), read.len())
				}
				if _, err := dial().connect(zkproto.ConnectRequest{TimeoutMS: 1000}); !closed(err) {
					t.Errorf("connecting afterwards: %v", err)
				}
			})
		})
	}
}

// TestCrashAtEveryCommit runs the same load again and again, each time with a
// crash at another commit, before or after it took effect, and a second server
// that goes on from what was stored.
func TestCrashAtEveryCommit(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for failAt := 2; ; failAt++ {
			store := &gateStore{MemStore: zkserver.NewMemStore(), failAt: failAt, applied: applied}
			over := false
			synctest.Test(t, func(t *testing.T) { over = crashOnce(t, store) })
			if t.Failed() {
				t.Fatalf("crash at commit %d, applied=%v", failAt, applied)
			}
			if over {
				if failAt < 20 {
					t.Errorf("the load has only %d commits", failAt)
				}
				break
			}
		}
	}
}

func crashOnce(t *testing.T, store *gateStore) (finished bool) {
	s, dial := startPipe(t, zkserver.Config{}, store)
	c := dial()
	const timeout = 30 * time.Second
	type ack struct {
		path string
		zxid int64
	}
	var acks []ack
	var last int64
	unsure := "" // the path whose reply did not come
	session, err := c.connect(zkproto.ConnectRequest{TimeoutMS: int32(timeout.Milliseconds())})
	for i := 0; err == nil && i < 12; i++ {
		for _, mode := range []zkproto.CreateMode{zkproto.ModePersistentSequential, zkproto.ModeEphemeral} {
			unsure = fmt.Sprintf("/%d-%d-", i, mode)
			req := &zkproto.MultiRequest{Ops: []zkproto.Operation{
				{Op: zkproto.OpCreate, Request: createRequest(unsure, nil, mode)},
				{Op: zkproto.OpSetData, Request: &zkproto.SetDataRequest{Path: "/", Data: []byte(unsure), Version: -1}},
			}}
			var m message
			if m, err = c.do(zkproto.OpMulti, req, nil); err != nil {
				break
			}
			acks = append(acks, ack{m.body.(*zkproto.MultiResponse).Results[0].Response.(*zkproto.PathResponse).Path, m.header.Zxid})
			last = m.header.Zxid
			unsure = ""
		}
	}
	finished = err == nil
	if !finished {
		<-s.Done()
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}

	store.failAt = 0
	_, dial = startPipe(t, zkserver.Config{}, store)
	c = connected(t, dial(), time.Hour)
	if c.session.SessionID == session.SessionID {
		t.Errorf("session id %x given out twice", session.SessionID)
	}
	for _, a := range acks {
		m, err := c.do(zkproto.OpExists, &zkproto.PathWatchRequest{Path: a.path}, nil)
		if err != nil {
			t.Errorf("acknowledged %s: %v", a.path, err)
			continue
		}
		if st := m.body.(*zkproto.StatResponse).Stat; st.Czxid != a.zxid {
			t.Errorf("%s has czxid %d, acknowledged was %d", a.path, st.Czxid, a.zxid)
		}
	}
	// The transaction without a reply is there as a whole or not at all.
	names := c.mustDo(t, zkproto.OpGetChildren, &zkproto.PathWatchRequest{Path: "/"}).body.(*zkproto.GetChildrenResponse).Children
	there := false
	for _, name := range names {
		there = there || unsure != "" && strings.HasPrefix("/"+name, unsure)
	}
	root := c.mustDo(t, zkproto.OpGetData, &zkproto.PathWatchRequest{Path: "/"}).body.(*zkproto.GetDataResponse)
	if unsure != "" && there != (string(root.Data) == unsure) {
		t.Errorf("%s is there: %v, but the root has %q", unsure, there, root.Data)
	}
	want := len(acks) + 1
	if there {
		want++
	}
	if len(names) != want {
		t.Errorf("children %v, want %d", names, want)
	}
	// Numbers go on.
	m := c.mustDo(t, zkproto.OpCreate, createRequest("/next-", nil, zkproto.ModePersistentSequential))
	if path := m.body.(*zkproto.PathResponse).Path; path != fmt.Sprintf("/next-%010d", want-1) {
		t.Errorf("the next sequential node is %s, want %d", path, want-1)
	}
	if m.header.Zxid <= last {
		t.Errorf("zxid %d after %d", m.header.Zxid, last)
	}
	// The ephemerals stay for the full timeout of their session, and go.
	count := func() int {
		return len(c.mustDo(t, zkproto.OpGetChildren, &zkproto.PathWatchRequest{Path: "/"}).body.(*zkproto.GetChildrenResponse).Children)
	}
	before := count()
	time.Sleep(timeout - time.Second)
	if n := count(); n != before {
		t.Errorf("%d nodes before the old session expires, were %d", n, before)
	}
	time.Sleep(2 * time.Second)
	for _, name := range c.mustDo(t, zkproto.OpGetChildren, &zkproto.PathWatchRequest{Path: "/"}).body.(*zkproto.GetChildrenResponse).Children {
		if strings.Contains(name, "-1-") {
			t.Errorf("ephemeral %s outlives its session", name)
		}
	}
	return finished
}
