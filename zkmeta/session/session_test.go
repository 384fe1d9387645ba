package session

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// TestPing: a ping after each third of the session's time without anything to send;
// a server that is silent for two thirds is left for another connection, which
// resumes the session.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		start := time.Now()
		c, l, pc := p.client(p.config(), 0x11)
		if pc.connect.SessionID != 0 || pc.connect.TimeoutMS != 9000 || len(pc.connect.Password) != 16 {
			t.Errorf("connect request %+v", pc.connect)
		}
		for want := 3 * time.Second; want <= 6*time.Second; want += 3 * time.Second {
			if h, _ := pc.next(); h.Op != zkproto.OpPing || time.Since(start) != want {
				t.Errorf("%v after %v, want a ping after %v", h.Op, time.Since(start), want)
			}
			pc.reply(zkproto.XIDPing, 0x77, 0, nil)
		}
		got := do(c, 0, Exists("/a", nil))
		xid, _ := pc.want(zkproto.OpExists)
		pc.reply(xid, 0x88, 0, &zkproto.StatResponse{})
		<-got
		silent := time.Now()
		unheard := pc.nc
		go func() { // pings go unanswered
			for {
				if _, err := zkproto.ReadFrame(unheard, 1<<20, nil); err != nil {
					return
				}
			}
		}()
		pc = p.accept()
		if d := time.Since(silent); d != 6*time.Second {
			t.Errorf("left a silent server after %v", d)
		}
		if pc.connect.SessionID != 0x11 || string(pc.connect.Password) != string(testPassword) || pc.connect.LastZxidSeen != 0x88 {
			t.Errorf("resumed by %+v", pc.connect)
		}
		pc.grant(0x11)
		stop(t, c, pc)
		if want := []Event{{Connected, 0x11}, {Disconnected, 0x11}, {Connected, 0x11}}; !slices.Equal(l.all(), want) {
			t.Errorf("events %v, want %v", l.all(), want)
		}
	})
}

// TestLapse: a session that ZooKeeper has not heard from for its timeout may be
// gone, counted from the last request that was answered.
func TestLapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		c, l, pc := p.client(p.config(), 0x11)
		pc.want(zkproto.OpPing) // sent after 3 s
		sent := time.Now()
		time.Sleep(time.Second)
		pc.reply(zkproto.XIDPing, 1, 0, nil)
		synctest.Wait()
		if since, gone := c.DisconnectedSince(); !since.Equal(sent) || gone {
			t.Errorf("disconnected since %v: %v", since, gone)
		}
		sent = time.Now() // an answered operation counts as well
		got := do(c, 0, Exists("/a", nil))
		xid, _ := pc.want(zkproto.OpExists)
		time.Sleep(time.Second)
		pc.reply(xid, 1, 0, &zkproto.StatResponse{})
		<-got
		p.setRefuse(true)
		pc.nc.Close()
		time.Sleep(sent.Add(9*time.Second).Sub(time.Now()) - 1)
		synctest.Wait()
		if want := []Event{{Connected, 0x11}, {Disconnected, 0x11}}; !slices.Equal(l.all(), want) {
			t.Errorf("before the timeout: %v", l.all())
		}
		if since, gone := c.DisconnectedSince(); !since.Equal(sent) || !gone {
			t.Errorf("disconnected since %v: %v", since, gone)
		}
		time.Sleep(1)
		synctest.Wait()
		if want := []Event{{Connected, 0x11}, {Disconnected, 0x11}, {Lapsed, 0x11}}; !slices.Equal(l.all(), want) {
			t.Errorf("after the timeout: %v", l.all())
		}
		p.setRefuse(false)
		pc = p.accept()
		pc.grant(0x11)
		stop(t, c, pc)
		if last := l.all()[3]; last != (Event{Connected, 0x11}) {
			t.Errorf("then %v", last)
		}
	})
}

// TestExpired: the end of a session has been told, and handled, before the next is
// opened; what was planned in the old one is not done in the new.
func TestExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		handle := make(chan struct{})
		c, err := New(p.config())
		if err != nil {
			t.Fatal(err)
		}
		l := &log{}
		c.OnSession(l.listen)
		c.OnSession(func(e Event) {
			if e.Kind == Expired {
				<-handle
			}
		})
		started := make(chan error, 1)
		go func() { started <- c.Start(t.Context()) }()
		pc := p.accept()
		pc.grant(0x11)
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		fired := false
		armed := do(c, 0, Get("/w", NewWatch(func(WatchEvent) { fired = true })))
		xid, _ := pc.want(zkproto.OpGetData)
		pc.reply(xid, 5, 0, &zkproto.GetDataResponse{})
		<-armed
		inFlight := do(c, 0x11, Set("/a", nil, 0))
		pc.want(zkproto.OpSetData)
		pc.nc.Close()
		pc = p.accept()
		waiting := do(c, 0x11, Set("/b", nil, 0))
		untied := do(c, 0, Set("/c", nil, 0)) // tied to 0x11, as that is current
		synctest.Wait()
		pc.expired()
		for _, results := range []<-chan []Result{inFlight, waiting, untied} {
			if err := (<-results)[0].Err; !errors.Is(err, ErrExpired) {
				t.Errorf("operation of the old session: %v", err)
			}
		}
		if c.SessionID() != 0 {
			t.Errorf("session %v after expiry", c.SessionID())
		}
		next := do(c, 0, Set("/d", nil, 0))
		time.Sleep(time.Minute)
		if len(p.conns) != 0 {
			t.Error("a new session was opened before the end of the old was handled")
		}
		close(handle)
		pc = p.accept()
		if pc.connect.SessionID != 0 || pc.connect.LastZxidSeen != 0 || string(pc.connect.Password) == string(testPassword) {
			t.Errorf("new session asked for by %+v", pc.connect)
		}
		pc.grant(0x22)
		xid, body := pc.want(zkproto.OpSetData) // and no setWatches before it
		if path := body.(*zkproto.SetDataRequest).Path; path != "/d" {
			t.Errorf("the new session began with a write of %s", path)
		}
		pc.reply(xid, 9, 0, &zkproto.StatResponse{})
		if err := (<-next)[0].Err; err != nil {
			t.Error(err)
		}
		if r := <-do(c, 0x11, Set("/e", nil, 0)); !errors.Is(r[0].Err, ErrExpired) {
			t.Errorf("operation planned in the old session: %v", r[0].Err)
		}
		pc.event(zkproto.EventNodeDataChanged, "/w")
		stop(t, c, pc)
		if fired {
			t.Error("a watch of the old session fired in the new")
		}
		want := []Event{{Connected, 0x11}, {Disconnected, 0x11}, {Expired, 0x11}, {Connected, 0x22}}
		if !slices.Equal(l.all(), want) {
			t.Errorf("events %v, want %v", l.all(), want)
		}
		if r := c.Do(t.Context(), 0, Get("/a", nil)); !errors.Is(r[0].Err, ErrStopped) {
			t.Errorf("after Stop: %v", r[0].Err)
		}
	})
}

// TestResend: what has no answer is sent again in order, and says so.
func TestResend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		c, _, pc := p.client(p.config(), 0x11)
		got := do(c, 0, Create("/a", nil, Persistent), Create("/b", []byte{}, Persistent), Create("/c", []byte("x"), Persistent))
		xid, body := pc.want(zkproto.OpCreate)
		if r := body.(*zkproto.CreateRequest); r.Data != nil || r.Path != "/a" || !reflect.DeepEqual(r.ACL, OpenACL()) {
			t.Errorf("first request %+v", r)
		}
		pc.reply(xid, 1, 0, &zkproto.PathResponse{Path: "/a"})
		pc.want(zkproto.OpCreate)
		pc.nc.Close()
		pc = p.accept()
		pc.grant(0x11)
		xid, body = pc.want(zkproto.OpCreate)
		if r := body.(*zkproto.CreateRequest); r.Data == nil || len(r.Data) != 0 || r.Path != "/b" {
			t.Errorf("sent again: %+v", r)
		}
		pc.reply(xid, 2, zkproto.ErrNodeExists, nil)
		xid, _ = pc.want(zkproto.OpCreate)
		pc.reply(xid, 3, 0, &zkproto.PathResponse{Path: "/c"})
		r := <-got
		if r[0].Err != nil || r[0].Path != "/a" || r[0].Resent {
			t.Errorf("first %+v", r[0])
		}
		var op *OpError
		if !errors.Is(r[1].Err, ErrNodeExists) || !errors.As(r[1].Err, &op) || !op.Resent || op.Path != "/b" || !r[1].Resent {
			t.Errorf("second %+v", r[1])
		}
		if !strings.Contains(r[1].Err.Error(), "create /b") || !strings.Contains(r[1].Err.Error(), "again") {
			t.Errorf("error text %q", r[1].Err)
		}
		if r[2].Err != nil || r[2].Path != "/c" || !r[2].Resent {
			t.Errorf("third %+v", r[2])
		}
		stop(t, c, pc)
	})
}

// TestBadReplies: nothing on a connection is believed after a reply that is out of
// order or malformed; the operations are sent again.
func TestBadReplies(t *testing.T) {
	for name, bad := range map[string]func(pc *peerConn, xid int32){
		"out of order": func(pc *peerConn, xid int32) { pc.reply(xid+1, 1, 0, &zkproto.StatResponse{}) },
		"malformed":    func(pc *peerConn, xid int32) { pc.reply(xid, 1, 0, &zkproto.Empty{}) },
		"to nothing":   func(pc *peerConn, xid int32) { pc.reply(99, 1, 0, nil) },
		"short frame":  func(pc *peerConn, xid int32) { pc.write([]byte{0, 0, 0, 1, 0}) },
		"huge event": func(pc *peerConn, xid int32) {
			pc.write(append([]byte{127, 0, 0, 0, 255, 255, 255, 255}, make([]byte, 12)...))
		},
		"moved":   func(pc *peerConn, xid int32) { pc.reply(xid, 1, zkproto.ErrSessionMoved, nil) },
		"expired": func(pc *peerConn, xid int32) { pc.reply(xid, 1, zkproto.ErrSessionExpired, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t)
				c, _, pc := p.client(p.config(), 0x11)
				got := do(c, 0, Exists("/a", nil))
				xid, _ := pc.want(zkproto.OpExists)
				bad(pc, xid)
				pc = p.accept()
				pc.grant(0x11)
				xid, _ = pc.want(zkproto.OpExists)
				pc.reply(xid, 1, 0, &zkproto.StatResponse{Stat: Stat{Version: 4}})
				if r := (<-got)[0]; r.Err != nil || r.Stat.Version != 4 || !r.Resent {
					t.Errorf("result %+v", r)
				}
				stop(t, c, pc)
			})
		})
	}
}

// TestTooLarge: an answer above the limit fails its operation only; a request above
// it is not sent; a request that a server hangs up on again and again is given up.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		cfg := p.config()
		cfg.MaxPacketBytes = 2 << 20
		c, l, pc := p.client(cfg, 0x11)
		got := do(c, 0, Get("/big", nil), Get("/small", nil), Set("/huge", make([]byte, 2<<20), 0))
		xid, _ := pc.want(zkproto.OpGetData)
		pc.reply(xid, 1, 0, &zkproto.GetDataResponse{Data: make([]byte, 3<<20)})
		xid, _ = pc.want(zkproto.OpGetData)
		pc.reply(xid, 1, 0, &zkproto.GetDataResponse{Data: []byte("x")})
		r := <-got
		if !errors.Is(r[0].Err, ErrTooLarge) || r[1].Err != nil || string(r[1].Data) != "x" || !errors.Is(r[2].Err, ErrTooLarge) {
			t.Errorf("results %v, %v, %v", r[0].Err, r[1], r[2].Err)
		}
		if n := len(l.all()); n != 1 {
			t.Errorf("events %v", l.all())
		}
		got = do(c, 0, Set("/deadly", make([]byte, 1<<20), 0))
		for range deadlyLosses {
			pc.want(zkproto.OpSetData)
			pc.nc.Close()
			pc = p.accept()
			pc.grant(0x11)
		}
		if r := (<-got)[0]; !errors.Is(r.Err, ErrTooLarge) {
			t.Errorf("deadly request: %v", r.Err)
		}
		stop(t, c, pc)
	})
}

// TestContext: an operation whose context ends is left, and its late answer harms
// nobody.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		c, _, pc := p.client(p.config(), 0x11)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		left := make(chan []Result, 1)
		go func() { left <- c.Do(ctx, 0, Get("/a", nil), Get("/b", nil)) }()
		xid, _ := pc.want(zkproto.OpGetData)
		for _, r := range <-left {
			if !errors.Is(r.Err, context.DeadlineExceeded) {
				t.Errorf("left with %v", r.Err)
			}
		}
		got := do(c, 0, Get("/c", nil))
		pc.reply(xid, 1, 0, &zkproto.GetDataResponse{Data: []byte("a")})
		for _, data := range []string{"b", "c"} {
			xid, _ := pc.want(zkproto.OpGetData)
			pc.reply(xid, 1, 0, &zkproto.GetDataResponse{Data: []byte(data)})
		}
		if r := (<-got)[0]; string(r.Data) != "c" {
			t.Errorf("got %q, %v", r.Data, r.Err)
		}
		// While disconnected as well.
		p.setRefuse(true)
		pc.nc.Close()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Do1(ctx, 0, Get("/a", nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while disconnected: %v", err)
		}
		p.setRefuse(false)
		pc = p.accept()
		pc.grant(0x11)
		stop(t, c, pc)
	})
}

// TestInFlight: groups without an answer are bounded, one operation or many.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		cfg := p.config()
		cfg.MaxInFlight = 2
		c, _, pc := p.client(cfg, 0x11)
		ops := make([]Op, 3*groupOps+1)
		for i := range ops {
			ops[i] = Exists("/a", nil)
		}
		got := do(c, 0, ops...)
		var xids []int32
		for range 2 * groupOps {
			xid, _ := pc.want(zkproto.OpExists)
			xids = append(xids, xid)
		}
		read := make(chan int32)
		go func() {
			xid, _ := pc.want(zkproto.OpExists)
			read <- xid
		}()
		synctest.Wait()
		select {
		case <-read:
			t.Fatal("a third group was sent with two in flight")
		default:
		}
		for _, xid := range xids[:groupOps] {
			pc.reply(xid, 1, 0, &zkproto.StatResponse{})
		}
		first := <-read
		for _, xid := range xids[groupOps:] {
			pc.reply(xid, 1, 0, &zkproto.StatResponse{})
		}
		pc.reply(first, 1, 0, &zkproto.StatResponse{})
		for range groupOps {
			xid, _ := pc.want(zkproto.OpExists)
			pc.reply(xid, 1, 0, &zkproto.StatResponse{})
		}
		for i, r := range <-got {
			if r.Err != nil {
				t.Fatalf("operation %d: %v", i, r.Err)
			}
		}
		stop(t, c, pc)
	})
}

// TestMulti: results are typed and name the operation that failed.
func TestMulti(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		cfg := p.config()
		cfg.Chroot = "/k"
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		started := make(chan error, 1)
		go func() { started <- c.Start(t.Context()) }()
		pc := p.accept()
		pc.grant(0x11)
		xid, _ := pc.want(zkproto.OpExists)
		pc.reply(xid, 1, 0, &zkproto.StatResponse{})
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		multi := Multi(Check("/e", 3), Create("/c", nil, Ephemeral), Set("/s", []byte("x"), 0), Delete("/d", AnyVersion))
		got := do(c, 0, multi, multi)
		xid, body := pc.want(zkproto.OpMulti)
		sent := body.(*zkproto.MultiRequest).Ops
		wantSent := []zkproto.Operation{
			{Op: zkproto.OpCheck, Request: &zkproto.DeleteRequest{Path: "/k/e", Version: 3}},
			{Op: zkproto.OpCreate, Request: &zkproto.CreateRequest{Path: "/k/c", ACL: OpenACL(), Mode: Ephemeral}},
			{Op: zkproto.OpSetData, Request: &zkproto.SetDataRequest{Path: "/k/s", Data: []byte("x")}},
			{Op: zkproto.OpDelete, Request: &zkproto.DeleteRequest{Path: "/k/d", Version: -1}},
		}
		if !reflect.DeepEqual(sent, wantSent) {
			t.Errorf("sent %+v", sent)
		}
		pc.reply(xid, 1, 0, &zkproto.MultiResponse{Results: []zkproto.Result{
			{Op: zkproto.OpCheck},
			{Op: zkproto.OpCreate, Response: &zkproto.PathResponse{Path: "/k/c"}},
			{Op: zkproto.OpSetData, Response: &zkproto.StatResponse{Stat: Stat{Version: 1, Czxid: 8}}},
			{Op: zkproto.OpDelete},
		}})
		xid, _ = pc.want(zkproto.OpMulti)
		pc.reply(xid, 1, 0, &zkproto.MultiResponse{Results: []zkproto.Result{
			{Op: zkproto.OpError}, {Op: zkproto.OpError, Err: zkproto.ErrNodeExists},
			{Op: zkproto.OpError, Err: zkproto.ErrRuntimeInconsistency}, {Op: zkproto.OpError, Err: zkproto.ErrRuntimeInconsistency},
		}})
		r := <-got
		if r[0].Err != nil || r[0].Multi[1].Path != "/c" || r[0].Multi[2].Stat.Czxid != 8 {
			t.Errorf("success %+v", r[0])
		}
		var op *OpError
		if !errors.As(r[1].Err, &op) || op.Err != error(ErrNodeExists) || op.Path != "/c" || op.Op != "create" {
			t.Errorf("failure %v", r[1].Err)
		}
		for i, part := range r[1].Multi {
			want := error(ErrRolledBack)
			if i == 1 {
				want = ErrNodeExists
			}
			if !errors.Is(part.Err, want) {
				t.Errorf("operation %d: %v", i, part.Err)
			}
		}
		stop(t, c, pc)
	})
}
