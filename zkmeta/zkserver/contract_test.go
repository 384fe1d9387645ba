package zkserver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// The contract tests say what the broker and its tools need of a ZooKeeper.
// They run on the embedded server, and with ZOOKEEPER_CONNECT=host:port on that
// server, below a node of their own; its session timeouts must reach down to
// 4 s, as by default.

// startServer runs an embedded server with a store on disk, and returns its
// address.
func startServer(t testing.TB, cfg zkserver.Config) string {
	t.Helper()
	store, err := zkserver.OpenBolt(filepath.Join(t.TempDir(), "zookeeper.db"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := zkserver.New(cfg, store)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, zkserver.ErrStopped) {
			t.Errorf("Serve: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func contractServer(t *testing.T) string {
	if addr := os.Getenv("ZOOKEEPER_CONNECT"); addr != "" {
		return strings.Split(strings.Split(addr, ",")[0], "/")[0]
	}
	return startServer(t, zkserver.Config{})
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func dial(t testing.TB, addr string, timeout time.Duration) *zk.Conn {
	t.Helper()
	c, events, err := zk.Connect([]string{addr}, timeout, zk.WithLogger(quiet{}), zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	deadline := time.After(20 * time.Second)
	for {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				return c
			}
		case <-deadline:
			t.Fatalf("no session with %s", addr)
		}
	}
}

var open = zk.WorldACL(zk.PermAll)

// base makes a node for one test, and deletes it with all below when the test
// ends.
func base(t *testing.T, c *zk.Conn, addr string) string {
	t.Helper()
	path := fmt.Sprintf("/gracchus-contract-%d-%s", time.Now().UnixNano(), strings.NewReplacer("/", "_").Replace(t.Name()))
	if _, err := c.Create(path, nil, 0, open); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c := dial(t, addr, 10*time.Second)
		if err := c.AddAuth("digest", []byte("owner:secret")); err != nil {
			t.Error(err)
		}
		removeAll(t, c, path)
	})
	return path
}

func removeAll(t *testing.T, c *zk.Conn, path string) {
	children, _, err := c.Children(path)
	if err != nil && err != zk.ErrNoNode {
		t.Errorf("children of %s: %v", path, err)
	}
	for _, child := range children {
		removeAll(t, c, path+"/"+child)
	}
	if err := c.Delete(path, -1); err != nil && err != zk.ErrNoNode {
		t.Errorf("delete %s: %v", path, err)
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func nextEvent(t *testing.T, ch <-chan zk.Event) zk.Event {
	t.Helper()
	select {
	case e := <-ch:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event")
		return zk.Event{}
	}
}

func wantEvent(t *testing.T, ch <-chan zk.Event, typ zk.EventType, path string) {
	t.Helper()
	if e := nextEvent(t, ch); e.Type != typ || e.Path != path || e.Err != nil {
		t.Errorf("event %v %q (%v), want %v %q", e.Type, e.Path, e.Err, typ, path)
	}
}

func wantSilence(t *testing.T, ch <-chan zk.Event) {
	t.Helper()
	select {
	case e := <-ch:
		t.Errorf("unexpected event %v %q", e.Type, e.Path)
	default:
	}
}

func TestContract(t *testing.T) {
	addr := contractServer(t)
	for name, f := range map[string]func(*testing.T, string, *zk.Conn, string){
		"CreateAndRead":        contractCreateAndRead,
		"NullAndEmptyData":     contractNullAndEmptyData,
		"Paths":                contractPaths,
		"Versions":             contractVersions,
		"Delete":               contractDelete,
		"Stat":                 contractStat,
		"Sequential":           contractSequential,
		"Ephemeral":            contractEphemeral,
		"EphemeralInMulti":     contractRegistration,
		"Multi":                contractMulti,
		"MultiSeesItself":      contractMultiSeesItself,
		"MultiRollsBack":       contractMultiRollsBack,
		"Fencing":              contractFencing,
		"DataWatch":            contractDataWatch,
		"ExistsWatch":          contractExistsWatch,
		"ChildWatch":           contractChildWatch,
		"WatchBeforeReply":     contractWatchBeforeReply,
		"WatchIsOneShot":       contractWatchIsOneShot,
		"DigestACL":            contractDigestACL,
		"InvalidACL":           contractInvalidACL,
		"ContainersAndTTL":     contractContainersAndTTL,
		"Pipelining":           contractPipelining,
		"ReconnectSetsWatches": contractReconnect,
		"Expiry":               contractExpiry,
		"LargeData":            contractLargeData,
		"ServerNodes":          contractServerNodes,
		"FourLetterWords":      contractFourLetterWords,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, addr, 10*time.Second)
			f(t, addr, c, base(t, c, addr))
		})
	}
}

func contractCreateAndRead(t *testing.T, _ string, c *zk.Conn, b string) {
	path := must(c.Create(b+"/a", []byte("x"), 0, open))(t)
	if path != b+"/a" {
		t.Errorf("created %q", path)
	}
	data, stat, err := c.Get(b + "/a")
	if err != nil || string(data) != "x" || stat.DataLength != 1 || stat.Version != 0 {
		t.Errorf("get: %q %+v %v", data, stat, err)
	}
	_, err = c.Create(b+"/a", nil, 0, open)
	wantErr(t, "create again", err, zk.ErrNodeExists)
	_, err = c.Create(b+"/no/parent", nil, 0, open)
	wantErr(t, "create without parent", err, zk.ErrNoNode)
	_, _, err = c.Get(b + "/none")
	wantErr(t, "get", err, zk.ErrNoNode)
	_, err = c.Set(b+"/none", nil, -1)
	wantErr(t, "set", err, zk.ErrNoNode)
	_, _, err = c.Children(b + "/none")
	wantErr(t, "children", err, zk.ErrNoNode)
	ok, _, err := c.Exists(b + "/none")
	if ok || err != nil {
		t.Errorf("exists: %v %v", ok, err)
	}
	must(c.Create(b+"/a/b", nil, 0, open))(t)
	must(c.Create(b+"/a/c", nil, 0, open))(t)
	names, stat, err := c.Children(b + "/a")
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"b", "c"}) || stat.NumChildren != 2 {
		t.Errorf("children: %v %+v %v", names, stat, err)
	}
	if path, err := c.Sync(b); err != nil || path != b {
		t.Errorf("sync: %q %v", path, err)
	}
}

func contractNullAndEmptyData(t *testing.T, _ string, c *zk.Conn, b string) {
	must(c.Create(b+"/null", nil, 0, open))(t)
	must(c.Create(b+"/empty", []byte{}, 0, open))(t)
	for _, round := range []string{"created", "set"} {
		null, _, err := c.Get(b + "/null")
		if err != nil || null != nil {
			t.Errorf("%s: null data came back as %#v %v", round, null, err)
		}
		empty, _, err := c.Get(b + "/empty")
		if err != nil || empty == nil || len(empty) != 0 {
			t.Errorf("%s: empty data came back as %#v %v", round, empty, err)
		}
		for path, data := range map[string][]byte{"/null": nil, "/empty": {}} {
			must(c.Set(b+path, []byte("between"), -1))(t)
			must(c.Set(b+path, data, -1))(t)
		}
	}
}

func contractPaths(t *testing.T, _ string, c *zk.Conn, b string) {
	// The client checks paths itself, so these are the ones it lets through.
	for _, name := range []string{"x\u0001y", "x\u0085y", "x\uf000y", "\U0001F600"} {
		_, err := c.Create(b+"/"+name, nil, 0, open)
		if err == nil {
			t.Errorf("create %q succeeded", name)
		}
	}
	for _, name := range []string{"<default>", "a b", "a%2Ab", "...", ".a", "ünïcode", "a:b@c!d"} {
		if got := must(c.Create(b+"/"+name, nil, 0, open))(t); got != b+"/"+name {
			t.Errorf("created %q as %q", name, got)
		}
	}
	err := c.Delete("/", -1)
	if err == nil {
		t.Error("deleted /")
	}
}

func contractVersions(t *testing.T, _ string, c *zk.Conn, b string) {
	must(c.Create(b+"/v", nil, 0, open))(t)
	for v := range int32(3) {
		_, err := c.Set(b+"/v", nil, v+1)
		wantErr(t, "set with a later version", err, zk.ErrBadVersion)
		if s := must(c.Set(b+"/v", []byte{byte(v)}, v))(t); s.Version != v+1 {
			t.Errorf("version %d, want %d", s.Version, v+1)
		}
	}
	if s := must(c.Set(b+"/v", nil, -1))(t); s.Version != 4 {
		t.Errorf("version %d, want 4", s.Version)
	}
	wantErr(t, "delete", c.Delete(b+"/v", 3), zk.ErrBadVersion)
	if err := c.Delete(b+"/v", 4); err != nil {
		t.Error(err)
	}
	must(c.Create(b+"/v", nil, 0, open))(t)
	if _, s, _ := c.Get(b + "/v"); s.Version != 0 {
		t.Errorf("version %d of a node made anew", s.Version)
	}
}

func contractDelete(t *testing.T, _ string, c *zk.Conn, b string) {
	must(c.Create(b+"/d", nil, 0, open))(t)
	must(c.Create(b+"/d/e", nil, 0, open))(t)
	wantErr(t, "delete with children", c.Delete(b+"/d", -1), zk.ErrNotEmpty)
	wantErr(t, "delete of nothing", c.Delete(b+"/none", -1), zk.ErrNoNode)
	if err := c.Delete(b+"/d/e", -1); err != nil {
		t.Error(err)
	}
	if err := c.Delete(b+"/d", -1); err != nil {
		t.Error(err)
	}
}

func contractStat(t *testing.T, _ string, c *zk.Conn, b string) {
	must(c.Create(b+"/s", []byte("abc"), 0, open))(t)
	_, s0, _ := c.Get(b + "/s")
	if s0.Czxid == 0 || s0.Czxid != s0.Mzxid || s0.Czxid != s0.Pzxid || s0.Ctime == 0 || s0.Ctime != s0.Mtime || s0.Cversion != 0 ||
		s0.Aversion != 0 || s0.EphemeralOwner != 0 || s0.DataLength != 3 {
		t.Errorf("new node: %+v", s0)
	}
	s1 := must(c.Set(b+"/s", nil, -1))(t)
	if s1.Czxid != s0.Czxid || s1.Mzxid <= s0.Mzxid || s1.Pzxid != s0.Pzxid || s1.Ctime != s0.Ctime || s1.DataLength != 0 {
		t.Errorf("after set: %+v, before: %+v", s1, s0)
	}
	must(c.Create(b+"/s/1", nil, 0, open))(t)
	must(c.Create(b+"/s/2", nil, 0, open))(t)
	_, child, _ := c.Get(b + "/s/2")
	_, s2, _ := c.Get(b + "/s")
	if s2.Cversion != 2 || s2.Pzxid != child.Czxid || s2.NumChildren != 2 || s2.Mzxid != s1.Mzxid || s2.Version != 1 {
		t.Errorf("after two children: %+v", s2)
	}
	if err := c.Delete(b+"/s/1", -1); err != nil {
		t.Fatal(err)
	}
	_, s3, _ := c.Get(b + "/s")
	if s3.Cversion != 3 || s3.Pzxid <= s2.Pzxid || s3.NumChildren != 1 {
		t.Errorf("after a deletion: %+v", s3)
	}
	if s := must(c.SetACL(b+"/s", zk.WorldACL(zk.PermRead|zk.PermAdmin|zk.PermDelete), 0))(t); s.Aversion != 1 || s.Version != 1 || s.Mzxid != s3.Mzxid {
		t.Errorf("after setACL: %+v", s)
	}
	_, err := c.SetACL(b+"/s", open, 0)
	wantErr(t, "setACL", err, zk.ErrBadVersion)
	must(c.SetACL(b+"/s", open, 1))(t)
}

func contractSequential(t *testing.T, _ string, c *zk.Conn, b string) {
	want := func(path, suffix string) {
		t.Helper()
		if got := must(c.Create(path, nil, zk.FlagSequence, open))(t); got != path+suffix {
			t.Errorf("created %q, want %q", got, path+suffix)
		}
	}
	want(b+"/n-", "0000000000")
	want(b+"/n-", "0000000001")
	must(c.Create(b+"/plain", nil, 0, open))(t) // counts
	want(b+"/m-", "0000000003")
	if err := c.Delete(b+"/m-0000000003", -1); err != nil { // does not count
		t.Fatal(err)
	}
	want(b+"/n-", "0000000004")
	must(c.Create(b+"/dir", nil, 0, open))(t)
	want(b+"/dir/", "0000000000")
	got := must(c.Create(b+"/dir/e-", nil, zk.FlagSequence|zk.FlagEphemeral, open))(t)
	if got != b+"/dir/e-0000000001" {
		t.Errorf("created %q", got)
	}
}

func contractEphemeral(t *testing.T, addr string, c *zk.Conn, b string) {
	other := dial(t, addr, 10*time.Second)
	path := must(other.Create(b+"/e", nil, zk.FlagEphemeral, open))(t)
	_, s, err := c.Get(path)
	if err != nil || s.EphemeralOwner != other.SessionID() {
		t.Errorf("owner %x, want %x (%v)", s.EphemeralOwner, other.SessionID(), err)
	}
	_, err = other.Create(path+"/child", nil, 0, open)
	wantErr(t, "child of an ephemeral", err, zk.ErrNoChildrenForEphemerals)
	_, _, gone, err := c.ExistsW(path)
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	wantEvent(t, gone, zk.EventNodeDeleted, path)
	if ok, _, err := c.Exists(path); ok || err != nil {
		t.Errorf("still there after its session closed: %v %v", ok, err)
	}
}

// A broker registers with one transaction: create with null data, then set. The
// node's data version is then 1, and its czxid the transaction's.
func contractRegistration(t *testing.T, _ string, c *zk.Conn, b string) {
	res, err := c.Multi(
		&zk.CreateRequest{Path: b + "/1", Data: nil, Acl: open, Flags: zk.FlagEphemeral},
		&zk.SetDataRequest{Path: b + "/1", Data: []byte("{}"), Version: 0})
	if err != nil {
		t.Fatal(err)
	}
	_, s, _ := c.Get(b + "/1")
	if s.Version != 1 || s.Czxid != s.Mzxid || s.EphemeralOwner != c.SessionID() || s.DataLength != 2 {
		t.Errorf("%+v", s)
	}
	if res[0].String != b+"/1" || res[1].Stat == nil || *res[1].Stat != *s {
		t.Errorf("results %+v, stat %+v", res, s)
	}
}

func contractMulti(t *testing.T, _ string, c *zk.Conn, b string) {
	must(c.Create(b+"/x", nil, 0, open))(t)
	res, err := c.Multi(
		&zk.CheckVersionRequest{Path: b + "/x", Version: 0},
		&zk.CreateRequest{Path: b + "/y", Data: []byte("1"), Acl: open},
		&zk.SetDataRequest{Path: b + "/x", Data: []byte("2"), Version: 0},
		&zk.CreateRequest{Path: b + "/q-", Acl: open, Flags: zk.FlagSequence},
		&zk.DeleteRequest{Path: b + "/y", Version: -1},
	)
	if err != nil || len(res) != 5 {
		t.Fatalf("%+v %v", res, err)
	}
	if res[1].String != b+"/y" || res[2].Stat.Version != 1 || res[3].String != b+"/q-0000000002" {
		t.Errorf("%+v", res)
	}
	names, s, _ := c.Children(b)
	slices.Sort(names)
	if !slices.Equal(names, []string{"q-0000000002", "x"}) || s.Cversion != 4 {
		t.Errorf("children %v, %+v", names, s)
	}
}

func contractMultiSeesItself(t *testing.T, _ string, c *zk.Conn, b string) {
	_, err := c.Multi(
		&zk.CreateRequest{Path: b + "/p", Acl: open},
		&zk.CreateRequest{Path: b + "/p/c", Acl: open},
		&zk.CheckVersionRequest{Path: b + "/p/c", Version: 0},
		&zk.SetDataRequest{Path: b + "/p/c", Version: 0},
		&zk.CheckVersionRequest{Path: b + "/p/c", Version: 1},
		&zk.DeleteRequest{Path: b + "/p/c", Version: 1},
		&zk.DeleteRequest{Path: b + "/p", Version: 0},
	)
	if err != nil {
		t.Error(err)
	}
	if ok, _, _ := c.Exists(b + "/p"); ok {
		t.Error("still there")
	}
}

func contractMultiRollsBack(t *testing.T, _ string, c *zk.Conn, b string) {
	must(c.Create(b+"/x", []byte("old"), 0, open))(t)
	must(c.Create(b+"/gone", nil, 0, open))(t)
	_, before, _ := c.Get(b)
	_, beforeX, _ := c.Get(b + "/x")
	res, err := c.Multi(
		&zk.SetDataRequest{Path: b + "/x", Data: []byte("new"), Version: -1},
		&zk.DeleteRequest{Path: b + "/gone", Version: -1},
		&zk.CreateRequest{Path: b + "/e", Acl: open, Flags: zk.FlagEphemeral},
		&zk.CreateRequest{Path: b + "/s-", Acl: open, Flags: zk.FlagSequence},
		&zk.CreateRequest{Path: b + "/x", Acl: open},
		&zk.DeleteRequest{Path: b + "/x", Version: -1},
	)
	wantErr(t, "multi", err, zk.ErrNodeExists)
	for i, want := range []error{nil, nil, nil, nil, zk.ErrNodeExists, errors.New("zk: runtime inconsistency")} {
		if i >= len(res) {
			t.Fatalf("%d results", len(res))
		}
		if got := res[i].Error; (got == nil) != (want == nil) {
			t.Errorf("result %d: %v, want %v", i, got, want)
		}
	}
	data, afterX, _ := c.Get(b + "/x")
	_, after, _ := c.Get(b)
	if string(data) != "old" || *afterX != *beforeX || *after != *before {
		t.Errorf("changed: %q\n%+v\n%+v\n%+v\n%+v", data, beforeX, afterX, before, after)
	}
	if ok, _, _ := c.Exists(b + "/e"); ok {
		t.Error("the ephemeral is there")
	}
	if got := must(c.Create(b+"/s-", nil, zk.FlagSequence, open))(t); got != b+"/s-0000000002" {
		t.Errorf("next sequential is %s", got)
	}
}

// A controller writes under check of its epoch node.
func contractFencing(t *testing.T, _ string, c *zk.Conn, b string) {
	must(c.Create(b+"/epoch", []byte("1"), 0, open))(t)
	must(c.Create(b+"/state", nil, 0, open))(t)
	must(c.Set(b+"/epoch", []byte("2"), 0))(t)
	res, err := c.Multi(&zk.CheckVersionRequest{Path: b + "/epoch", Version: 0}, &zk.SetDataRequest{Path: b + "/state", Version: 0})
	wantErr(t, "stale check", err, zk.ErrBadVersion)
	if len(res) != 2 || !errors.Is(res[0].Error, zk.ErrBadVersion) {
		t.Errorf("%+v", res)
	}
	res, err = c.Multi(&zk.CheckVersionRequest{Path: b + "/epoch", Version: 1}, &zk.SetDataRequest{Path: b + "/state", Version: 7})
	wantErr(t, "bad version behind a good check", err, zk.ErrBadVersion)
	if len(res) != 2 || res[0].Error != nil || !errors.Is(res[1].Error, zk.ErrBadVersion) {
		t.Errorf("%+v", res)
	}
	if _, err = c.Multi(&zk.CheckVersionRequest{Path: b + "/epoch", Version: 1}, &zk.SetDataRequest{Path: b + "/state", Version: 0}); err != nil {
		t.Error(err)
	}
	_, err = c.Multi(&zk.CheckVersionRequest{Path: b + "/none", Version: 0})
	wantErr(t, "check of nothing", err, zk.ErrNoNode)
}
