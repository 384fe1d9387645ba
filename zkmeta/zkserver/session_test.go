package zkserver_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

func exists(t testing.TB, c *rawClient, path string) bool {
	t.Helper()
	_, err := c.do(zkproto.OpExists, &zkproto.PathWatchRequest{Path: path}, nil)
	if err != nil && !errors.Is(err, zkproto.ErrNoNode) {
		t.Fatalf("exists %s: %v", path, err)
	}
	return err == nil
}

func resume(c *rawClient, of *rawClient, timeout time.Duration) (zkproto.ConnectResponse, error) {
	return c.connect(zkproto.ConnectRequest{SessionID: of.session.SessionID, Password: of.session.Password, TimeoutMS: int32(timeout.Milliseconds())})
}

func TestSilentSessionExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
		observer, silent, lively := connected(t, dial(), 40*time.Second), connected(t, dial(), 6*time.Second), connected(t, dial(), 6*time.Second)
		silent.mustDo(t, zkproto.OpCreate, createRequest("/silent", nil, zkproto.ModeEphemeral))
		lively.mustDo(t, zkproto.OpCreate, createRequest("/lively", nil, zkproto.ModeEphemeral))
		box := collect(silent)
		for second := range 20 {
			time.Sleep(time.Second)
			lively.mustDo(t, zkproto.OpPing, nil)
			want := second < 5 // after 6 s it is gone
			if second == 5 {
				continue // at that instant either is right
			}
			if exists(t, observer, "/silent") != want {
				t.Errorf("after %d s: still there is %v", second+1, !want)
			}
			if !exists(t, observer, "/lively") {
				t.Fatalf("the session that pings is gone after %d s", second+1)
			}
		}
		if !box.ended() {
			t.Error("the expired session's connection is open")
		}
		if resp, err := resume(dial(), silent, 6*time.Second); err != nil || resp.SessionID != 0 || resp.TimeoutMS != 0 {
			t.Errorf("an expired session was resumed: %+v %v", resp, err)
		}
	})
}

func TestDisconnectedSessionIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
		observer, c := connected(t, dial(), 40*time.Second), connected(t, dial(), 10*time.Second)
		c.mustDo(t, zkproto.OpCreate, createRequest("/e", nil, zkproto.ModeEphemeral))
		for range 5 {
			c.nc.Close()
			time.Sleep(9 * time.Second)
			next := dial()
			resp, err := resume(next, c, 10*time.Second)
			if err != nil || resp.SessionID != c.session.SessionID {
				t.Fatalf("resume: %+v %v", resp, err)
			}
			c = next
			if !exists(t, observer, "/e") {
				t.Fatal("the ephemeral is gone")
			}
		}
	})
}

func TestWrongPasswordHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
		c := connected(t, dial(), 10*time.Second)
		for _, password := range [][]byte{{}, make([]byte, 16), c.session.Password[:15], append(c.session.Password, 0)} {
			resp, err := dial().connect(zkproto.ConnectRequest{SessionID: c.session.SessionID, Password: password, TimeoutMS: 4000})
			if err != nil || resp.SessionID != 0 {
				t.Errorf("%x: %+v %v", password, resp, err)
			}
		}
		c.mustDo(t, zkproto.OpPing, nil) // its connection is still open
	})
}

func TestSessionMovesToAnotherConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
		first := connected(t, dial(), 10*time.Second)
		first.mustDo(t, zkproto.OpGetChildren, &zkproto.PathWatchRequest{Path: "/", Watch: true})
		box := collect(first)
		second := dial()
		if resp, err := resume(second, first, 10*time.Second); err != nil || resp.SessionID != first.session.SessionID {
			t.Fatalf("%+v %v", resp, err)
		}
		synctest.Wait()
		if !box.ended() {
			t.Error("the first connection is open")
		}
		var events int
		if _, err := second.do(zkproto.OpCreate, createRequest("/e", nil, zkproto.ModeEphemeral), func(message) { events++ }); err != nil {
			t.Fatal(err)
		}
		if events != 0 {
			t.Error("a watch moved with the session")
		}
		first.nc.Close() // must not take the session along
		for range 30 {
			time.Sleep(time.Second)
			second.mustDo(t, zkproto.OpPing, nil)
		}
	})
}

func TestTimeoutsAreNegotiated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := zkserver.NewMemStore()
		s, dial := startPipe(t, zkserver.Config{TickTime: time.Second, MaxSessionTimeout: 30 * time.Second}, store)
		for asked, want := range map[time.Duration]int32{0: 2000, time.Second: 2000, 5 * time.Second: 5000, time.Hour: 30000} {
			c := dial()
			resp, err := c.connect(zkproto.ConnectRequest{TimeoutMS: int32(asked.Milliseconds())})
			if err != nil || resp.TimeoutMS != want {
				t.Errorf("%v: %+v %v, want %d", asked, resp, err, want)
			}
		}
		// A resumed session gets the new timeout, over a restart, too.
		c := connected(t, dial(), 5*time.Second)
		c.mustDo(t, zkproto.OpCreate, createRequest("/e", nil, zkproto.ModeEphemeral))
		if resp, err := resume(dial(), c, 20*time.Second); err != nil || resp.TimeoutMS != 20000 {
			t.Errorf("%+v %v", resp, err)
		}
		if err := s.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		_, dial = startPipe(t, zkserver.Config{}, store)
		observer := connected(t, dial(), 40*time.Second)
		time.Sleep(19 * time.Second)
		if !exists(t, observer, "/e") {
			t.Error("expired too early")
		}
		time.Sleep(2 * time.Second)
		if exists(t, observer, "/e") {
			t.Error("expired too late")
		}
	})
}

// A server that was itself stopped for a while must not end the sessions of
// clients that spoke in the meantime and were not heard.
func TestStandstillEndsNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gateStore{MemStore: zkserver.NewMemStore()}
		_, dial := startPipe(t, zkserver.Config{}, store)
		c := connected(t, dial(), 6*time.Second)
		c.mustDo(t, zkproto.OpCreate, createRequest("/e", nil, zkproto.ModeEphemeral))
		store.gate = make(chan struct{})
		other := connectedLater(t, dial())
		time.Sleep(time.Minute) // the commit of its session takes that long
		close(store.gate)
		<-other
		if !exists(t, c, "/e") {
			t.Error("the ephemeral is gone")
		}
		c.nc.Close()
		observer := connected(t, dial(), 40*time.Second)
		time.Sleep(7 * time.Second)
		if exists(t, observer, "/e") {
			t.Error("the session does not expire any more")
		}
	})
}

// On a disk so slow that the server always comes late, dead sessions end all
// the same: they are spared once.
func TestSlowDiskKeepsNoSessionAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gateStore{MemStore: zkserver.NewMemStore()}
		_, dial := startPipe(t, zkserver.Config{}, store)
		dead, busy := connected(t, dial(), 6*time.Second), connected(t, dial(), 40*time.Second)
		dead.mustDo(t, zkproto.OpCreate, createRequest("/e", nil, zkproto.ModeEphemeral))
		dead.nc.Close()
		store.delay.Store(int64(5 * time.Second))
		for i := range 10 {
			busy.mustDo(t, zkproto.OpSetData, &zkproto.SetDataRequest{Path: "/", Data: []byte{byte(i)}, Version: -1})
		}
		if exists(t, busy, "/e") {
			t.Error("the ephemeral of a session that has been silent for 50 s is there")
		}
	})
}

func connectedLater(t *testing.T, c *rawClient) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := c.connect(zkproto.ConnectRequest{TimeoutMS: 6000}); err != nil {
			t.Errorf("connect: %v", err)
		}
	}()
	return done
}

func TestRequestsOfAClientThatHasGoneAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gateStore{MemStore: zkserver.NewMemStore()}
		_, dial := startPipe(t, zkserver.Config{}, store)
		observer, c := connected(t, dial(), 40*time.Second), connected(t, dial(), 40*time.Second)
		store.gate = make(chan struct{})
		for _, name := range []string{"/1", "/2", "/3"} {
			if _, err := c.send(zkproto.OpCreate, createRequest(name, nil, zkproto.ModeEphemeral)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.send(zkproto.OpCreate, createRequest("/4", nil, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.send(zkproto.OpCloseSession, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.nc.Close()
		synctest.Wait()
		close(store.gate)
		synctest.Wait()
		if !exists(t, observer, "/4") || exists(t, observer, "/3") {
			t.Error("not all was done that the client sent before it left")
		}
	})
}

func TestEmptyContainersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := zkserver.NewMemStore()
		s, dial := startPipe(t, zkserver.Config{}, store)
		c := connected(t, dial(), 40*time.Second)
		for _, name := range []string{"/used", "/unused", "/full"} {
			c.mustDo(t, zkproto.OpCreateContainer, createRequest(name, nil, zkproto.ModeContainer))
		}
		for _, name := range []string{"/used/x", "/full/x"} {
			c.mustDo(t, zkproto.OpCreate, createRequest(name, nil, 0))
		}
		if err := s.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		_, dial = startPipe(t, zkserver.Config{}, store)
		c = connected(t, dial(), 40*time.Second)
		c.mustDo(t, zkproto.OpDelete, &zkproto.DeleteRequest{Path: "/used/x", Version: -1})
		for range 4 {
			time.Sleep(30 * time.Second)
			c.mustDo(t, zkproto.OpPing, nil)
		}
		for name, want := range map[string]bool{"/used": false, "/unused": true, "/full": true} {
			if exists(t, c, name) != want {
				t.Errorf("%s is there: %v", name, !want)
			}
		}
	})
}

func TestMuteConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
		for _, sent := range [][]byte{nil, {0}, {0, 0, 0, 100, 1, 2, 3}} {
			c := dial()
			box := collect(c)
			if sent != nil {
				if _, err := c.nc.Write(sent); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(9 * time.Second)
			if box.ended() {
				t.Errorf("%x: closed too early", sent)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if !box.ended() {
				t.Errorf("%x: still open", sent)
			}
		}
	})
}
