package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/zktest"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// These tests run against a server: the embedded one, or the one named by
// ZOOKEEPER_CONNECT.

// connect starts a client that reaches s by dial; it is stopped with the test.
func connect(t *testing.T, s *zktest.Server, dial zktest.Dial, listen func(session.Event)) *session.Client {
	t.Helper()
	c, err := session.New(config(s, dial))
	if err != nil {
		t.Fatal(err)
	}
	if listen != nil {
		c.OnSession(listen)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return c
}

func config(s *zktest.Server, dial zktest.Dial) session.Config {
	return session.Config{Servers: []string{"zk:2181"}, Chroot: s.Chroot, SessionTimeout: 6 * time.Second, Dial: dial}
}

// newRelay makes a relay to s that lives longer than the clients made after it.
func newRelay(t *testing.T, s *zktest.Server) *zktest.Relay {
	relay := zktest.NewRelay(s.Dial)
	t.Cleanup(relay.Close)
	return relay
}

// bounded ends a test that would otherwise hang.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, r session.Result, err error) session.Result {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOperations(t *testing.T) {
	s := zktest.Start(t)
	c := connect(t, s, s.Dial, nil)
	ctx := bounded(t)
	do := func(op session.Op) (session.Result, error) { return c.Do1(ctx, 0, op) }

	for path, data := range map[string][]byte{"/null": nil, "/empty": {}, "/data": []byte("x")} {
		r, err := do(session.Create(path, data, session.Persistent))
		if r = must(t, r, err); r.Path != path {
			t.Errorf("created %q as %q", path, r.Path)
		}
		r, err = do(session.Get(path, nil))
		if r = must(t, r, err); (r.Data == nil) != (data == nil) || !bytes.Equal(r.Data, data) || r.Stat.Version != 0 {
			t.Errorf("%s holds %#v at version %d", path, r.Data, r.Stat.Version)
		}
	}
	r, err := do(session.Set("/data", nil, 0))
	if r = must(t, r, err); r.Stat.Version != 1 {
		t.Errorf("version %d after a set", r.Stat.Version)
	}
	if r, err := do(session.Get("/data", nil)); err != nil || r.Data != nil {
		t.Errorf("set to null, got %#v, %v", r.Data, err)
	}
	r, err = do(session.Create("/null/s-", nil, session.PersistentSequential))
	if r = must(t, r, err); r.Path != "/null/s-0000000000" {
		t.Errorf("sequential node %q", r.Path)
	}
	r, err = do(session.Children("/null", nil))
	if r = must(t, r, err); !slices.Equal(r.Children, []string{"s-0000000000"}) || r.Stat.NumChildren != 1 {
		t.Errorf("children %v", r.Children)
	}
	for _, tt := range []struct {
		op   session.Op
		want error
	}{
		{session.Create("/null", nil, session.Persistent), session.ErrNodeExists},
		{session.Create("/no/node", nil, session.Persistent), session.ErrNoNode},
		{session.Get("/no", nil), session.ErrNoNode},
		{session.Exists("/no", nil), session.ErrNoNode},
		{session.Set("/data", nil, 0), session.ErrBadVersion},
		{session.Delete("/data", 0), session.ErrBadVersion},
		{session.Delete("/null", session.AnyVersion), session.ErrNotEmpty},
		{session.Multi(session.Create("/m", nil, session.Persistent), session.Check("/data", 9)), session.ErrBadVersion},
		{session.Exists("/m", nil), session.ErrNoNode},
	} {
		if _, err := do(tt.op); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.op, err, tt.want)
		}
	}
	r, err = do(session.Multi(session.Create("/e", nil, session.Ephemeral), session.Set("/e", []byte("x"), 0), session.Delete("/empty", 0), session.Check("/data", 1)))
	r = must(t, r, err)
	if st := r.Multi[1].Stat; r.Multi[0].Path != "/e" || st.Version != 1 || st.Czxid != st.Mzxid || session.ID(st.EphemeralOwner) != c.SessionID() {
		t.Errorf("multi %+v", r.Multi)
	}
	if _, err := do(session.Sync("/")); err != nil {
		t.Errorf("sync: %v", err)
	}
}

// TestLostReplies: a write whose reply is lost is answered as its second copy, and
// says so; one whose request is lost is simply done.
func TestLostReplies(t *testing.T) {
	s := zktest.Start(t)
	relay := newRelay(t, s)
	c := connect(t, s, relay.Dial, nil)
	ctx := bounded(t)
	write := func(lose func(func(zkproto.Op) bool), op session.Op) (session.Result, error) {
		rule, _ := zktest.Nth(0)
		lose(rule)
		defer lose(nil)
		return c.Do1(ctx, 0, op)
	}
	for _, tt := range []struct {
		op   session.Op
		want error // of the second copy
	}{
		{session.Create("/a", []byte("1"), session.Persistent), session.ErrNodeExists},
		{session.Set("/a", []byte("2"), 0), session.ErrBadVersion},
		{session.Multi(session.Check("/a", 1), session.Set("/a", []byte("3"), 1)), session.ErrBadVersion},
		{session.Delete("/a", 2), session.ErrNoNode},
	} {
		if r, err := write(relay.LoseReply, tt.op); !errors.Is(err, tt.want) || !r.Resent {
			t.Errorf("lost reply to %+v: %+v", tt.op, r)
		}
	}
	for _, op := range []session.Op{
		session.Create("/b", nil, session.Persistent), session.Set("/b", nil, 0),
		session.Multi(session.Check("/b", 1), session.Set("/b", nil, 1)), session.Delete("/b", 2),
	} {
		if r, err := write(relay.LoseRequest, op); err != nil || !r.Resent {
			t.Errorf("lost request %+v: %+v", op, r)
		}
	}
}

// TestForcedDisconnects: the connection is cut again and again under load. Nothing is
// lost, nothing done in another session, and a watcher sees the last state.
func TestForcedDisconnects(t *testing.T) {
	s := zktest.Start(t)
	relay := newRelay(t, s)
	var lost, expired atomic.Int32
	c := connect(t, s, relay.Dial, func(e session.Event) {
		switch e.Kind {
		case session.Disconnected:
			lost.Add(1)
		case session.Expired:
			expired.Add(1)
		}
	})
	ctx := bounded(t)
	id := c.SessionID()
	const workers, cuts = 4, 40
	watched := make(chan struct{}, 1)
	w := session.NewWatch(func(session.WatchEvent) {
		select {
		case watched <- struct{}{}:
		default:
		}
	})
	stop := make(chan struct{})
	var all sync.WaitGroup
	totals := make([]int, workers)
	for i := range workers {
		path := fmt.Sprintf("/%d", i)
		r, err := c.Do1(ctx, id, session.Create(path, []byte("0"), session.Persistent))
		must(t, r, err)
		all.Go(func() {
			// Counts up by compare-and-set. A set that was sent again may have been done
			// the first time: then the node holds what was to be written.
			n, version := 0, int32(0)
			for {
				select {
				case <-stop:
					totals[i] = n
					return
				default:
				}
				next := []byte(strconv.Itoa(n + 1))
				r, err := c.Do1(ctx, id, session.Set(path, next, version))
				if errors.Is(err, session.ErrBadVersion) && r.Resent {
					r, err = c.Do1(ctx, id, session.Get(path, nil))
					if err == nil && !bytes.Equal(r.Data, next) {
						err = fmt.Errorf("%s holds %q, want %q", path, r.Data, next)
					}
				}
				if err != nil {
					t.Errorf("count: %v", err)
					totals[i] = n
					return
				}
				n, version = n+1, r.Stat.Version
				if int(version) != n {
					t.Errorf("%s was set %d times, counted %d", path, version, n)
					totals[i] = n
					return
				}
			}
		})
	}
	var seen string
	watcherDone := make(chan struct{})
	go func() {
		defer close(watcherDone)
		for {
			r, err := c.Do1(ctx, id, session.Get("/0", w))
			if err != nil {
				t.Errorf("watcher: %v", err)
				return
			}
			if seen = string(r.Data); seen == "end" {
				return
			}
			select {
			case <-watched:
			case <-ctx.Done():
				t.Errorf("the watch at %q did not fire", seen)
				return
			}
		}
	}()
	for i := range cuts {
		relay.Cut()
		// Wait until the cut was noticed and work goes on.
		for lost.Load() < int32(i+1) && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		r, err := c.Do1(ctx, id, session.Exists("/0", nil))
		must(t, r, err)
	}
	close(stop)
	all.Wait()
	if _, err := c.Do1(ctx, id, session.Set("/0", []byte("end"), session.AnyVersion)); err != nil {
		t.Fatal(err)
	}
	<-watcherDone
	if expired.Load() != 0 || c.SessionID() != id {
		t.Errorf("session %v became %v", id, c.SessionID())
	}
	t.Logf("%d cuts, counted %v", lost.Load(), totals)
}

// TestExpiry: another connection closes the session, as an operator or a successor
// would. The old session's node is gone, its operations fail, a new one is told.
func TestExpiry(t *testing.T) {
	s := zktest.Start(t)
	relay := newRelay(t, s)
	events := make(chan session.Event, 100)
	c := connect(t, s, relay.Dial, func(e session.Event) { events <- e })
	ctx := bounded(t)
	old := (<-events).Session
	for range 5 {
		r, err := c.Do1(ctx, old, session.Create("/e", nil, session.Ephemeral))
		must(t, r, err)
		id, secret := c.SessionSecret()
		if id != old {
			t.Fatalf("session %v, secret of %v", old, id)
		}
		if err := session.Dissolve(ctx, config(s, s.Dial), id, secret); err != nil {
			t.Fatal(err)
		}
		relay.Cut() // a server need not cut the connection of a session that was moved
		// While the other connection takes the session over this one may be cut, and the
		// client may get it back for a moment.
		last := <-events
		for last.Session == old && last.Kind != session.Expired {
			last = <-events
		}
		if last != (session.Event{Kind: session.Expired, Session: old}) {
			t.Fatalf("event %v, want the expiry of %v", last, old)
		}
		if last = <-events; last.Kind != session.Connected {
			t.Fatalf("event %v after the expiry", last)
		}
		if last.Session == old {
			t.Errorf("the new session is the old one")
		}
		if _, err := c.Do1(ctx, old, session.Set("/e", nil, 0)); !errors.Is(err, session.ErrExpired) {
			t.Errorf("operation of the old session: %v", err)
		}
		if _, err := c.Do1(ctx, last.Session, session.Exists("/e", nil)); !errors.Is(err, session.ErrNoNode) {
			t.Errorf("ephemeral node of the old session: %v", err)
		}
		old = last.Session
	}
}

// TestDissolve: the ephemeral nodes of a session whose process is gone go at once.
func TestDissolve(t *testing.T) {
	s := zktest.Start(t)
	relay := newRelay(t, s)
	dead, err := session.New(config(s, relay.Dial))
	if err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	if err := dead.Start(ctx); err != nil {
		t.Fatal(err)
	}
	r, err := dead.Do1(ctx, 0, session.Create("/e", nil, session.Ephemeral))
	must(t, r, err)
	id, secret := dead.SessionSecret()
	relay.Refuse(true)
	relay.Cut() // as kill -9 would
	c := connect(t, s, s.Dial, nil)
	gone := make(chan struct{})
	if _, err := c.Do1(ctx, 0, session.Exists("/e", session.NewWatch(func(session.WatchEvent) { close(gone) }))); err != nil {
		t.Fatalf("the node of the dead session: %v", err)
	}
	start := time.Now()
	wrong := bytes.Repeat([]byte{1}, len(secret))
	if err := session.Dissolve(ctx, config(s, s.Dial), id, wrong); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do1(ctx, 0, session.Exists("/e", nil)); err != nil {
		t.Errorf("a wrong password closed the session: %v", err)
	}
	if err := session.Dissolve(ctx, config(s, s.Dial), id, secret); err != nil {
		t.Fatal(err)
	}
	<-gone
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v, about as long as an expiry", d)
	}
	if err := session.Dissolve(ctx, config(s, s.Dial), id, secret); err != nil {
		t.Errorf("a second time: %v", err)
	}
	stopping, cancel := context.WithCancel(ctx)
	cancel()
	if err := dead.Stop(stopping); err == nil {
		t.Error("a client without a connection closed its session")
	}
}

// TestWatchesSurvive a change that happens while the client is disconnected.
func TestWatchesSurvive(t *testing.T) {
	s := zktest.Start(t)
	relay := newRelay(t, s)
	c := connect(t, s, relay.Dial, nil)
	other := connect(t, s, s.Dial, nil)
	ctx := bounded(t)
	for _, path := range []string{"/data", "/gone", "/parent", "/quiet"} {
		r, err := other.Do1(ctx, 0, session.Create(path, nil, session.Persistent))
		must(t, r, err)
	}
	events := make(chan session.WatchEvent, 10)
	w := session.NewWatch(func(e session.WatchEvent) { events <- e })
	for _, r := range c.Do(ctx, 0, session.Get("/data", w), session.Get("/gone", w), session.Children("/parent", w), session.Get("/quiet", w), session.Children("/quiet", w)) {
		must(t, r, r.Err)
	}
	if _, err := c.Do1(ctx, 0, session.Exists("/new", w)); !errors.Is(err, session.ErrNoNode) {
		t.Fatal(err)
	}
	relay.Refuse(true)
	relay.Cut()
	for _, r := range other.Do(ctx, 0, session.Set("/data", []byte("x"), 0), session.Delete("/gone", 0),
		session.Create("/parent/child", nil, session.Persistent), session.Create("/new", nil, session.Persistent)) {
		must(t, r, r.Err)
	}
	relay.Refuse(false)
	got := map[session.WatchEvent]bool{}
	for range 4 {
		select {
		case e := <-events:
			got[e] = true
		case <-ctx.Done():
			t.Fatalf("only %v", got)
		}
	}
	for _, want := range []session.WatchEvent{
		{Type: session.NodeDataChanged, Path: "/data"}, {Type: session.NodeDeleted, Path: "/gone"},
		{Type: session.NodeChildrenChanged, Path: "/parent"}, {Type: session.NodeCreated, Path: "/new"},
	} {
		if !got[want] {
			t.Errorf("no event %v, got %v", want, got)
		}
	}
	// And the one at a node that did not change is still armed.
	r, err := other.Do1(ctx, 0, session.Set("/quiet", nil, 0))
	must(t, r, err)
	if e := <-events; e != (session.WatchEvent{Type: session.NodeDataChanged, Path: "/quiet"}) {
		t.Errorf("event %v", e)
	}
}

// TestPipeline: many operations do not cost as many round trips.
func TestPipeline(t *testing.T) {
	s := zktest.Start(t)
	c := connect(t, s, s.Dial, nil)
	ctx := bounded(t)
	const n = 2000
	ops := make([]session.Op, 0, 2*n)
	for i := range n {
		path := fmt.Sprintf("/%d", i)
		ops = append(ops, session.Create(path, []byte(path), session.Persistent), session.Get(path, nil))
	}
	start := time.Now()
	for i, r := range c.Do(ctx, 0, ops...) {
		must(t, r, r.Err)
		if i%2 == 1 && string(r.Data) != fmt.Sprintf("/%d", i/2) {
			t.Fatalf("result %d is %q", i, r.Data)
		}
	}
	t.Logf("%d operations in %v", len(ops), time.Since(start))
}

// TestAuth: credentials are presented on every connection.
func TestAuth(t *testing.T) {
	s := zktest.Start(t)
	relay := newRelay(t, s)
	stranger := connect(t, s, s.Dial, nil) // makes the chroot, open to all
	cfg := config(s, relay.Dial)
	cfg.Auth = []session.Auth{{Scheme: "digest", Auth: []byte("user:secret")}}
	c, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer c.Stop(context.Background())
	mine := []session.ACL{{Perms: zkproto.PermAll, Scheme: "auth"}}
	r, err := c.Do1(ctx, 0, session.CreateWithACL("/mine", []byte("x"), session.Persistent, mine))
	must(t, r, err)
	if _, err := stranger.Do1(ctx, 0, session.Get("/mine", nil)); !errors.Is(err, session.ErrNoAuth) {
		t.Errorf("a stranger reads: %v", err)
	}
	relay.Cut()
	if r, err := c.Do1(ctx, 0, session.Get("/mine", nil)); err != nil || string(r.Data) != "x" {
		t.Errorf("after a reconnect: %q, %v", r.Data, err)
	}
}

// TestLapseComesFirst: whenever the connection is lost, relative to the last ping,
// Lapsed is told before the server lets others have the session's nodes.
func TestLapseComesFirst(t *testing.T) {
	for _, idle := range []time.Duration{0, 700 * time.Millisecond, 1900 * time.Millisecond, 2 * time.Second, 3100 * time.Millisecond} {
		t.Run(idle.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := zktest.Embedded(t)
				relay := newRelay(t, s)
				lapsed := make(chan time.Time, 1)
				expired := make(chan session.ID, 1)
				c := connect(t, s, relay.Dial, func(e session.Event) {
					switch e.Kind {
					case session.Lapsed:
						lapsed <- time.Now()
					case session.Expired:
						expired <- e.Session
					}
				})
				other := connect(t, s, s.Dial, nil)
				r, err := c.Do1(t.Context(), 0, session.Create("/e", nil, session.Ephemeral))
				must(t, r, err)
				old := c.SessionID()
				gone := make(chan time.Time, 1)
				r, err = other.Do1(t.Context(), 0, session.Exists("/e", session.NewWatch(func(session.WatchEvent) { gone <- time.Now() })))
				must(t, r, err)
				time.Sleep(idle)
				relay.Refuse(true)
				relay.Cut()
				cut := time.Now()
				told, freed := <-lapsed, <-gone
				if told.After(freed) || told.Sub(cut) > 6*time.Second {
					t.Errorf("told %v after the cut, the server let go after %v", told.Sub(cut), freed.Sub(cut))
				}
				relay.Refuse(false)
				if id := <-expired; id != old {
					t.Errorf("expired %v", id)
				}
				r, err = c.Do1(t.Context(), 0, session.Create("/e", nil, session.Ephemeral))
				if r = must(t, r, err); c.SessionID() == old {
					t.Error("still the old session")
				}
			})
		})
	}
}
