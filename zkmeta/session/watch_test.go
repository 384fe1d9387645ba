package session

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// recorder is a watch that writes down what it is called with.
func recorder() (*Watch, *[]WatchEvent) {
	var events []WatchEvent
	return NewWatch(func(e WatchEvent) { events = append(events, e) }), &events
}

// TestWatches: what arms a watch, what fires it, and that it fires once.
func TestWatches(t *testing.T) {
	get := func(w *Watch) Op { return Get("/a", w) }
	exists := func(w *Watch) Op { return Exists("/a", w) }
	children := func(w *Watch) Op { return Children("/a", w) }
	const (
		created   = zkproto.EventNodeCreated
		deleted   = zkproto.EventNodeDeleted
		changed   = zkproto.EventNodeDataChanged
		children_ = zkproto.EventNodeChildrenChanged
	)
	for _, tt := range []struct {
		name   string
		op     func(*Watch) Op
		answer zkproto.Error
		event  zkproto.EventType
		fires  bool
	}{
		{"get, changed", get, 0, changed, true},
		{"get, deleted", get, 0, deleted, true},
		{"get, children", get, 0, children_, false},
		{"get of nothing, created", get, ErrNoNode, created, false},
		{"exists, changed", exists, 0, changed, true},
		{"exists, deleted", exists, 0, deleted, true},
		{"exists of nothing, created", exists, ErrNoNode, created, true},
		{"exists without permission", exists, ErrNoAuth, created, false},
		{"children, children", children, 0, children_, true},
		{"children, deleted", children, 0, deleted, true},
		{"children, changed", children, 0, changed, false},
		{"children of nothing", children, ErrNoNode, children_, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t)
				c, _, pc := p.client(p.config(), 0x11)
				w, events := recorder()
				op := tt.op(w)
				for range 2 { // armed twice, fires once
					got := do(c, 0, op)
					xid, body := pc.want(op.kind)
					if !body.(*zkproto.PathWatchRequest).Watch {
						t.Error("the server was not asked to watch")
					}
					pc.reply(xid, 1, tt.answer, zkproto.NewResponse(op.kind))
					<-got
				}
				synctest.Wait()
				if n := len(c.watches.data["/a"]) + len(c.watches.exist["/a"]) + len(c.watches.child["/a"]); n > 1 {
					t.Errorf("armed %d times", n)
				}
				pc.event(tt.event, "/b")
				pc.event(tt.event, "/a")
				pc.event(tt.event, "/a")
				synctest.Wait()
				var want []WatchEvent
				if tt.fires {
					want = []WatchEvent{{tt.event, "/a"}}
				}
				if !slices.Equal(*events, want) {
					t.Errorf("fired %v, want %v", *events, want)
				}
				stop(t, c, pc)
			})
		})
	}
}

// TestWatchOnce: a watch armed in two kinds at one node fires once when it goes.
func TestWatchOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		c, _, pc := p.client(p.config(), 0x11)
		w, events := recorder()
		w2, events2 := recorder()
		got := do(c, 0, Get("/a", w), Children("/a", w), Children("/a", w2), Get("/b", w))
		for range 4 {
			h, _ := pc.next()
			pc.reply(h.XID, 1, 0, zkproto.NewResponse(h.Op))
		}
		<-got
		pc.event(zkproto.EventNodeDeleted, "/a")
		synctest.Wait()
		if want := []WatchEvent{{NodeDeleted, "/a"}}; !slices.Equal(*events, want) || !slices.Equal(*events2, want) {
			t.Errorf("fired %v and %v", *events, *events2)
		}
		pc.event(zkproto.EventNodeDataChanged, "/b")
		synctest.Wait()
		if len(*events) != 2 || (*events)[1] != (WatchEvent{NodeDataChanged, "/b"}) {
			t.Errorf("then fired %v", *events)
		}
		stop(t, c, pc)
	})
}

// TestWatchBeforeReply: whoever reads sees no change that its watch has not told.
func TestWatchBeforeReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		c, _, pc := p.client(p.config(), 0x11)
		var fired atomic.Bool
		w := NewWatch(func(WatchEvent) {
			time.Sleep(time.Hour) // which a callback must not do, but the order holds
			fired.Store(true)
		})
		got := do(c, 0, Get("/a", w))
		xid, _ := pc.want(zkproto.OpGetData)
		pc.reply(xid, 1, 0, &zkproto.GetDataResponse{})
		<-got
		got = do(c, 0, Get("/a", nil))
		xid, _ = pc.want(zkproto.OpGetData)
		pc.event(zkproto.EventNodeDataChanged, "/a")
		pc.reply(xid, 2, 0, &zkproto.GetDataResponse{Data: []byte("new")})
		go func() { // the slow callback does not keep the session from being held
			for {
				frame, err := zkproto.ReadFrame(pc.nc, 1<<20, nil)
				if err != nil {
					return
				}
				h, _, _ := zkproto.ParseRequest(frame)
				if h.Op == zkproto.OpCloseSession {
					pc.reply(h.XID, 3, 0, nil)
					return
				}
				pc.reply(h.XID, 3, 0, nil)
			}
		}()
		if r := (<-got)[0]; string(r.Data) != "new" || !fired.Load() {
			t.Errorf("read %q before its watch fired", r.Data)
		}
		if c.SessionID() != 0x11 {
			t.Errorf("session %v", c.SessionID())
		}
		if err := c.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestRearm: on a new connection watches are armed again before anything else, in
// requests of a bounded size, from the last transaction seen.
func TestRearm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		c, _, pc := p.client(p.config(), 0x11)
		const n = 1200
		fired := map[string]int{}
		w := NewWatch(func(e WatchEvent) { fired[e.Path]++ })
		var ops []Op
		path := func(i int) string { return fmt.Sprintf("/%0200d", i) }
		for i := range n {
			ops = append(ops, Get(path(i), w), Children(path(i), w), Exists(path(n+i), w))
		}
		got := do(c, 0, ops...)
		for range ops {
			h, _ := pc.next()
			if h.Op == zkproto.OpExists {
				pc.reply(h.XID, 0x42, zkproto.ErrNoNode, nil)
			} else {
				pc.reply(h.XID, 0x42, 0, zkproto.NewResponse(h.Op))
			}
		}
		<-got
		pc.event(zkproto.EventNodeDataChanged, path(0)) // no longer armed
		synctest.Wait()
		pc.nc.Close()
		pc = p.accept()
		waiting := do(c, 0, Exists("/x", nil))
		pc.grant(0x11)
		armed := map[string]int{}
		requests := 0
		var h zkproto.RequestHeader
		var body zkproto.Record
		for {
			if h, body = pc.next(); h.Op != zkproto.OpSetWatches {
				break
			}
			requests++
			r := body.(*zkproto.SetWatchesRequest)
			if size := len(r.Encode(nil)); size > 128<<10+100 {
				t.Errorf("a request of %d bytes", size)
			}
			if r.RelativeZxid != 0x42 || h.XID != zkproto.XIDSetWatches {
				t.Errorf("from %#x, xid %d", r.RelativeZxid, h.XID)
			}
			for kind, paths := range map[string][]string{"data": r.Data, "exist": r.Exist, "child": r.Child} {
				for _, path := range paths {
					armed[kind+path]++
				}
			}
			pc.reply(h.XID, 0x43, 0, nil)
		}
		if h.Op != zkproto.OpExists {
			t.Errorf("then %v", h.Op)
		}
		pc.reply(h.XID, 0x43, 0, &zkproto.StatResponse{})
		<-waiting
		if requests < 6 || len(armed) != 3*n-1 || armed["data"+path(0)] != 0 {
			t.Errorf("%d watches in %d requests", len(armed), requests)
		}
		for key, times := range armed {
			if times != 1 {
				t.Errorf("%s was armed %d times", key, times)
			}
		}
		pc.event(zkproto.EventNodeCreated, path(n+7))
		synctest.Wait()
		if fired[path(n+7)] != 1 || fired[path(0)] != 1 || len(fired) != 2 {
			t.Errorf("fired %v", fired)
		}
		stop(t, c, pc)
	})
}

func TestRelative(t *testing.T) {
	for _, tt := range []struct{ chroot, path, full string }{
		{"", "/", "/"}, {"", "/a", "/a"}, {"/k", "/", "/k"}, {"/k", "/a/b", "/k/a/b"}, {"/k/l", "/k", "/k/l/k"},
	} {
		if full := absolute(tt.chroot, tt.path); full != tt.full {
			t.Errorf("%q in %q is %q", tt.path, tt.chroot, full)
		}
		if tt.chroot != "" || tt.path != "/" {
			if path := relative(tt.chroot, tt.full); path != tt.path {
				t.Errorf("%q out of %q is %q", tt.full, tt.chroot, path)
			}
		}
	}
	if got := relative("/k", "/kk/a"); !strings.HasPrefix(got, "/kk") {
		t.Errorf("a foreign path became %q", got)
	}
}
