package zkserver_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// fullStore is a MemStore that has no room while full is set.
type fullStore struct {
	*zkserver.MemStore
	full     atomic.Bool
	attempts atomic.Int64
}

func (s *fullStore) Commit(changes []zkserver.Change) error {
	if s.full.Load() {
		s.attempts.Add(1)
		return fmt.Errorf("%w: %w", zkserver.ErrNoRoom, syscall.ENOSPC)
	}
	return s.MemStore.Commit(changes)
}

func (s *fullStore) HasRoom() bool { return !s.full.Load() }

// Without room for its store the server refuses changes, as if they had never
// been asked for, and serves everything else; with room it goes on.
func TestStoreWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fullStore{MemStore: zkserver.NewMemStore()}
		s, dial := startPipe(t, zkserver.Config{MaxSessionTimeout: time.Hour}, store)
		writer, reader := connected(t, dial(), time.Hour), connected(t, dial(), time.Hour)
		silent := connected(t, dial(), 10*time.Second)
		silent.mustDo(t, zkproto.OpCreate, createRequest("/ephemeral", nil, zkproto.ModeEphemeral))
		writer.mustDo(t, zkproto.OpCreate, createRequest("/a", []byte("old"), 0))
		if _, err := reader.do(zkproto.OpExists, &zkproto.PathWatchRequest{Path: "/new", Watch: true}, nil); !errors.Is(err, zkproto.ErrNoNode) {
			t.Errorf("exists: %v", err)
		}

		store.full.Store(true)
		if _, err := writer.do(zkproto.OpSetData, &zkproto.SetDataRequest{Path: "/a", Data: []byte("new"), Version: -1}, nil); !closed(err) {
			t.Errorf("the change for which there is no room: %v", err)
		}
		again := dial()
		resumed, err := again.connect(zkproto.ConnectRequest{SessionID: writer.session.SessionID, Password: writer.session.Password, TimeoutMS: 20_000})
		if err != nil || resumed.SessionID != writer.session.SessionID || resumed.TimeoutMS != writer.session.TimeoutMS {
			t.Errorf("the session is %+v afterwards, not %+v: %v", resumed, writer.session, err)
		}
		writer = again
		changes := map[zkproto.Op]zkproto.Record{
			zkproto.OpCreate:       createRequest("/new", nil, 0),
			zkproto.OpSetData:      &zkproto.SetDataRequest{Path: "/a", Version: -1},
			zkproto.OpDelete:       &zkproto.DeleteRequest{Path: "/a", Version: -1},
			zkproto.OpMulti:        &zkproto.MultiRequest{Ops: []zkproto.Operation{{Op: zkproto.OpCreate, Request: createRequest("/new", nil, 0)}}},
			zkproto.OpCloseSession: nil,
		}
		for op, body := range changes {
			if _, err := writer.do(op, body, nil); !errors.Is(err, zkproto.ErrQuotaExceeded) {
				t.Errorf("%v: %v", op, err)
			}
		}
		for range 10 {
			time.Sleep(5 * time.Second) // for which silent is not heard from
			if got := writer.mustDo(t, zkproto.OpGetData, &zkproto.PathWatchRequest{Path: "/a"}).body.(*zkproto.GetDataResponse); string(got.Data) != "old" || got.Stat.Version != 0 {
				t.Errorf("/a is %q in version %d", got.Data, got.Stat.Version)
			}
			reader.mustDo(t, zkproto.OpPing, nil)
		}
		reader.mustDo(t, zkproto.OpExists, &zkproto.PathWatchRequest{Path: "/ephemeral"})
		if _, err := dial().connect(zkproto.ConnectRequest{TimeoutMS: 20_000}); !closed(err) {
			t.Errorf("a new session: %v", err)
		}
		if n := store.attempts.Load(); n != 1 {
			t.Errorf("%d commits were tried", n)
		}

		store.full.Store(false)
		time.Sleep(time.Second)
		writer.mustDo(t, zkproto.OpCreate, createRequest("/new", nil, 0))
		if m, err := reader.receive(); err != nil || m.event == nil || m.event.Path != "/new" {
			t.Errorf("the watcher hears %+v, %v", m, err)
		}
		connected(t, dial(), time.Hour)
		time.Sleep(10 * time.Second)
		if _, err := reader.do(zkproto.OpExists, &zkproto.PathWatchRequest{Path: "/ephemeral"}, nil); !errors.Is(err, zkproto.ErrNoNode) {
			t.Errorf("the silent session's node: %v", err)
		}
		if err := s.Err(); err != nil {
			t.Errorf("the server has ended: %v", err)
		}
	})
}

// The store on disk has blocks ahead of what it uses.
func TestBoltAllocatesAhead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zk")
	s := openBolt(t, path)
	defer s.Close()
	ahead := func() int64 {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	if n := ahead(); n < 4<<20 {
		t.Errorf("an empty store has %d bytes of blocks", n)
	}
	for i := range 100 {
		err := s.Commit([]zkserver.Change{{Bucket: zkserver.BucketNodes, Key: fmt.Sprint(i), Value: make([]byte, 100_000)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := ahead(); n < 10_000_000+1<<20 {
		t.Errorf("a store with 10 MB has %d bytes of blocks", n)
	}
	if !s.HasRoom() {
		t.Error("no room")
	}
}
