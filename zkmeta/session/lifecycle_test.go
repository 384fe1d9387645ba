package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

func TestParseConnect(t *testing.T) {
	for _, tt := range []struct {
		connect string
		servers []string
		chroot  string
	}{
		{"h1:1,h2:2/a/b", []string{"h1:1", "h2:2"}, "/a/b"},
		{"h1, h2 ,", []string{"h1:2181", "h2:2181"}, ""},
		{"h:1/", []string{"h:1"}, ""},
		{"h:1/a/", []string{"h:1"}, "/a"},
		{"[::1]:1,::1,[::2]", []string{"[::1]:1", "[::1]:2181", "[::2]:2181"}, ""},
	} {
		servers, chroot, err := ParseConnect(tt.connect)
		if err != nil || !slices.Equal(servers, tt.servers) || chroot != tt.chroot {
			t.Errorf("%q: %v %q %v", tt.connect, servers, chroot, err)
		}
	}
	for _, bad := range []string{"", "/a", ",", "h//a", "h/a//b", "h/./a"} {
		if servers, chroot, err := ParseConnect(bad); err == nil {
			t.Errorf("%q: %v %q", bad, servers, chroot)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no servers": {}, "chroot": {Servers: []string{"h:1"}, Chroot: "a"},
		"timeout": {Servers: []string{"h:1"}, SessionTimeout: -1}, "in flight": {Servers: []string{"h:1"}, MaxInFlight: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestStartFails: within the connect timeout, with the reason, and nothing is left.
func TestStartFails(t *testing.T) {
	for name, serve := range map[string]func(*peerConn){
		"silent":    func(pc *peerConn) {},
		"closing":   func(pc *peerConn) { pc.nc.Close() },
		"refusing":  func(pc *peerConn) { pc.expired() },
		"malformed": func(pc *peerConn) { pc.write([]byte{0, 0, 0, 1, 0}) },
		"huge":      func(pc *peerConn) { pc.write([]byte{127, 0, 0, 0}) },
		"no quorum": func(pc *peerConn) {
			pc.write(zkproto.AppendFrame(nil, &zkproto.ConnectResponse{TimeoutMS: 9000, SessionID: 1, Password: testPassword, ReadOnly: true, HasReadOnly: true}))
		},
		"auth failed": func(pc *peerConn) {
			pc.grant(1)
			if h, body := pc.next(); h.Op != zkproto.OpAuth || h.XID != zkproto.XIDAuth || body.(*zkproto.AuthRequest).Scheme != "digest" {
				pc.t.Errorf("first request %v %+v", h, body)
			}
			pc.reply(zkproto.XIDAuth, 0, zkproto.ErrAuthFailed, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t)
				cfg := p.config()
				cfg.ConnectTimeout = 4 * time.Second
				cfg.Chroot = "/k" // so that a session that fails at once is not enough
				cfg.Auth = []Auth{{"digest", []byte("u:p")}}
				c, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				started := make(chan error, 1)
				start := time.Now()
				go func() { started <- c.Start(t.Context()) }()
				for {
					select {
					case err = <-started:
						if err == nil || time.Since(start) != 4*time.Second {
							t.Errorf("Start returned %v after %v", err, time.Since(start))
						}
						if name == "no quorum" && !strings.Contains(err.Error(), "read-only") {
							t.Errorf("refused for another reason: %v", err)
						}
						if !strings.Contains(err.Error(), "zk:1") {
							t.Errorf("the error does not say where: %v", err)
						}
						for len(p.conns) > 0 {
							(<-p.conns).Close()
						}
						return
					case nc := <-p.conns:
						p.conns <- nc
						serve(p.accept())
					}
				}
			})
		})
	}
}

// TestFailOver: the next server is tried at once, and a round without success is
// followed by a pause.
func TestFailOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		cfg := p.config()
		cfg.Servers = []string{"a:1", "b:1", "c:1"}
		c, _, pc := p.client(cfg, 0x11)
		first := p.dialed()[0]
		lost := time.Now()
		pc.nc.Close()
		pc = p.accept() // the second server hangs up
		pc.nc.Close()
		pc = p.accept()
		pc.grant(0x11)
		synctest.Wait()
		if d := time.Since(lost); d != 0 {
			t.Errorf("failed over in %v", d)
		}
		seen := p.dialed()
		if slices.Sort(seen); !slices.Equal(seen, []string{"a:1", "b:1", "c:1"}) {
			t.Errorf("tried %v, beginning with %s", p.dialed(), first)
		}
		p.setRefuse(true)
		pc.nc.Close()
		time.Sleep(10 * time.Second)
		if n := len(p.dialed()); n < 3*10 || n > 3*30 {
			t.Errorf("%d attempts in 10 s", n)
		}
		p.setRefuse(false)
		pc = p.accept()
		pc.grant(0x11)
		stop(t, c, pc)
	})
}

// TestDeadAddress: an address that swallows everything costs a part of the session's
// time only.
func TestDeadAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		cfg := p.config()
		cfg.Servers = []string{"a:1", "b:1"}
		alive := ""
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			if alive == "" {
				alive = addr
			}
			if addr != alive {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return p.dial(ctx, addr)
		}
		c, l, pc := p.client(cfg, 0x11)
		lost := time.Now()
		pc.nc.Close()
		pc = p.accept()
		pc.grant(0x11)
		if d := time.Since(lost); d > 9*time.Second/2 {
			t.Errorf("reconnected after %v", d)
		}
		stop(t, c, pc)
		if slices.ContainsFunc(l.all(), func(e Event) bool { return e.Kind == Lapsed }) {
			t.Errorf("events %v", l.all())
		}
	})
}

// TestStop closes the session, also when the reply to that is lost.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		c, l, pc := p.client(p.config(), 0x11)
		waiting := do(c, 0, Get("/a", nil))
		xid, _ := pc.want(zkproto.OpGetData)
		stopped := make(chan error, 1)
		go func() { stopped <- c.Stop(context.Background()) }()
		pc.reply(xid, 1, 0, &zkproto.GetDataResponse{})
		if r := (<-waiting)[0]; r.Err != nil {
			t.Error(r.Err)
		}
		pc.want(zkproto.OpCloseSession)
		pc.nc.Close()
		pc = p.accept()
		pc.expired()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if n := len(l.all()); n != 1 {
			t.Errorf("events %v", l.all())
		}
		if err := (&Client{}).Stop(t.Context()); err != nil {
			t.Errorf("stop before start: %v", err)
		}
	})
}

// TestStopOnce: a session that was closed is not asked for again, however late the
// one who waits for the close hears of it.
func TestStopOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		c, _, pc := p.client(p.config(), 0x11)
		got := do(c, 0, Get("/a", NewWatch(func(WatchEvent) { time.Sleep(time.Minute) })))
		xid, _ := pc.want(zkproto.OpGetData)
		pc.reply(xid, 1, 0, &zkproto.GetDataResponse{})
		<-got
		stopped := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() { stopped <- c.Stop(ctx) }()
		xid, _ = pc.want(zkproto.OpCloseSession)
		pc.event(zkproto.EventNodeDataChanged, "/a")
		pc.reply(xid, 1, 0, nil)
		pc.nc.Close()
		<-stopped
		if n := len(p.dialed()); n != 1 {
			t.Errorf("dialled %d times", n)
		}
	})
}

// TestStopDisconnected waits a little for a connection and then leaves the session.
func TestStopDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		c, _, pc := p.client(p.config(), 0x11)
		p.setRefuse(true)
		pc.nc.Close()
		waiting := do(c, 0, Get("/a", nil))
		synctest.Wait()
		start := time.Now()
		if err := c.Stop(context.Background()); err == nil || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if r := (<-waiting)[0]; !errors.Is(r.Err, ErrStopped) {
			t.Error(r.Err)
		}
	})
}

// TestChroot is created level by level without data, if it is not there.
func TestChroot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		cfg := p.config()
		cfg.Chroot = "/a/b/"
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		started := make(chan error, 1)
		go func() { started <- c.Start(t.Context()) }()
		pc := p.accept()
		pc.grant(0x11)
		xid, body := pc.want(zkproto.OpExists)
		if r := body.(*zkproto.PathWatchRequest); r.Path != "/a/b" || r.Watch {
			t.Errorf("asked for %+v", r)
		}
		pc.reply(xid, 1, zkproto.ErrNoNode, nil)
		for _, path := range []string{"/a", "/a/b"} {
			xid, body := pc.want(zkproto.OpCreate)
			if r := body.(*zkproto.CreateRequest); r.Path != path || r.Data != nil || r.Mode != Persistent {
				t.Errorf("created %+v, want %s", r, path)
			}
			if path == "/a" {
				pc.reply(xid, 1, zkproto.ErrNodeExists, nil)
			} else {
				pc.reply(xid, 1, 0, &zkproto.PathResponse{Path: path})
			}
		}
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		w, events := recorder()
		got := do(c, 0, Get("/c", w), Create("/s-", nil, PersistentSequential), Create("/", nil, PersistentSequential), Children("/", nil))
		xid, body = pc.want(zkproto.OpGetData)
		if path := body.(*zkproto.PathWatchRequest).Path; path != "/a/b/c" {
			t.Errorf("read %s", path)
		}
		pc.reply(xid, 1, 0, &zkproto.GetDataResponse{})
		xid, _ = pc.want(zkproto.OpCreate)
		pc.reply(xid, 1, 0, &zkproto.PathResponse{Path: "/a/b/s-0000000007"})
		xid, _ = pc.want(zkproto.OpGetChildren2)
		pc.reply(xid, 1, 0, &zkproto.GetChildren2Response{Children: []string{"c"}})
		r := <-got
		if r[1].Path != "/s-0000000007" || r[2].Err == nil || len(r[3].Children) != 1 {
			t.Errorf("results %+v", r)
		}
		pc.event(zkproto.EventNodeDeleted, "/a/b/c")
		synctest.Wait()
		if want := []WatchEvent{{NodeDeleted, "/c"}}; !slices.Equal(*events, want) {
			t.Errorf("events %v", *events)
		}
		if c.cfg.Chroot != "/a/b" {
			t.Errorf("chroot %q", c.cfg.Chroot)
		}
		stop(t, c, pc)
	})
}

// TestDissolve resumes a session by its password and closes it, however often it
// takes; a session that is gone needs nothing.
func TestDissolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		done := make(chan error, 1)
		start := func(ctx context.Context, id ID) {
			go func() { done <- Dissolve(ctx, p.config(), id, testPassword) }()
		}
		start(t.Context(), 0x99)
		p.accept().nc.Close()
		pc := p.accept()
		if pc.connect.SessionID != 0x99 || string(pc.connect.Password) != string(testPassword) {
			t.Errorf("resumed by %+v", pc.connect)
		}
		pc.grant(0x99)
		xid, _ := pc.want(zkproto.OpCloseSession)
		pc.event(zkproto.EventNodeDeleted, "/x")
		pc.reply(xid, 1, 0, nil)
		if err := <-done; err != nil {
			t.Error(err)
		}
		start(t.Context(), 0x99)
		p.accept().expired()
		if err := <-done; err != nil {
			t.Errorf("a session that is gone: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		p.setRefuse(true)
		begun := time.Now()
		start(ctx, 0x99)
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 5*time.Second {
			t.Errorf("without a server: %v after %v", err, time.Since(begun))
		}
		if err := Dissolve(t.Context(), p.config(), 0, nil); err != nil {
			t.Errorf("no session: %v", err)
		}
	})
}

func TestOpsThatCannotBeSent(t *testing.T) {
	c, err := New(Config{Servers: []string{"h:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []Op{
		Get("", nil), Get("a", nil), Get("/a/", nil), Get("/a//b", nil), Get("/a/../b", nil), Get("/a\x00", nil), Get("/a\x1f", nil), Get("/\x7f", nil), Get("/\xff", nil), Get("/\ufff0", nil), Get("/😀", nil),
		Create("/a/", nil, Persistent), Multi(Get("/a", nil)), Multi(Set("x", nil, 0)), {},
	} {
		if _, err := c.Do1(t.Context(), 0, op); err == nil {
			t.Errorf("%+v was done", op)
		} else if fmt.Sprint(err) == "" {
			t.Error("no reason")
		}
	}
}
