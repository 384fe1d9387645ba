package zkserver_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

func openBolt(t testing.TB, path string) *zkserver.BoltStore {
	t.Helper()
	s, err := zkserver.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func contents(t testing.TB, s zkserver.Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := s.Load(func(e zkserver.Entry) error {
		out[fmt.Sprintf("%d %s", e.Bucket, e.Key)] = string(e.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zk")
	for name, reopen := range map[string]func(zkserver.Store) zkserver.Store{
		"memory": func(s zkserver.Store) zkserver.Store {
			if s == nil {
				return zkserver.NewMemStore()
			}
			return s
		},
		"bolt": func(s zkserver.Store) zkserver.Store {
			if s != nil {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			return openBolt(t, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := reopen(nil)
			if got := contents(t, s); len(got) != 0 {
				t.Errorf("new: %v", got)
			}
			commit := func(changes ...zkserver.Change) {
				t.Helper()
				if err := s.Commit(changes); err != nil {
					t.Fatal(err)
				}
			}
			commit(zkserver.Change{Bucket: zkserver.BucketNodes, Key: "/b", Value: []byte("1")},
				zkserver.Change{Bucket: zkserver.BucketNodes, Key: "/a", Value: []byte("2")},
				zkserver.Change{Bucket: zkserver.BucketSessions, Key: "/a", Value: []byte{}},
				zkserver.Change{Bucket: zkserver.BucketMeta, Key: "m", Value: []byte("3")})
			commit(zkserver.Change{Bucket: zkserver.BucketNodes, Key: "/b"}, zkserver.Change{Bucket: zkserver.BucketNodes, Key: "/none"},
				zkserver.Change{Bucket: zkserver.BucketMeta, Key: "m", Value: []byte("4")})
			s = reopen(s)
			want := map[string]string{"1 /a": "2", "2 /a": "", "0 m": "4"}
			if got := contents(t, s); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			boom := errors.New("boom")
			if err := s.Load(func(zkserver.Entry) error { return boom }); !errors.Is(err, boom) {
				t.Errorf("Load: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBoltFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zk")
	// What a crash while the file was made may leave behind is no hindrance.
	if err := os.WriteFile(path+".new", []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openBolt(t, path)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || !entries[0].Type().IsRegular() {
		t.Errorf("in the directory: %v %v", entries, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	_, err = zkserver.OpenBolt(path)
	if !errors.Is(err, zkserver.ErrStoreInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("second OpenBolt: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"text": bytes.Repeat([]byte("not a database\n"), 4000), "zeroes": make([]byte, 1<<16)} {
		bad := filepath.Join(dir, name)
		if err := os.WriteFile(bad, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := zkserver.OpenBolt(bad); err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := zkserver.OpenBolt(filepath.Join(dir, "none", "zk")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
}

func TestBoltFileIsCompacted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zk")
	s := openBolt(t, path)
	big := make([]byte, 256<<10)
	for i := range 100 {
		if err := s.Commit([]zkserver.Change{{Bucket: zkserver.BucketNodes, Key: fmt.Sprintf("/%d", i), Value: big}}); err != nil {
			t.Fatal(err)
		}
	}
	var changes []zkserver.Change
	for i := 1; i < 100; i++ {
		changes = append(changes, zkserver.Change{Bucket: zkserver.BucketNodes, Key: fmt.Sprintf("/%d", i)})
	}
	if err := s.Commit(changes); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	large := size()
	for range 2 {
		want := contents(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openBolt(t, path)
		if got := contents(t, s); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Error("the content has changed")
		}
		if err := s.Commit([]zkserver.Change{{Bucket: zkserver.BucketMeta, Key: "m", Value: []byte("x")}}); err != nil {
			t.Error(err)
		}
	}
	if _, err := zkserver.OpenBolt(path); !errors.Is(err, zkserver.ErrStoreInUse) {
		t.Errorf("the compacted file is not locked: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if small := size(); small > large/2 {
		t.Errorf("%d bytes, were %d", small, large)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// TestLoadRefuses says what a server does not start on.
func TestLoadRefuses(t *testing.T) {
	good := zkserver.NewMemStore()
	s, dial := startPipe(t, zkserver.Config{}, good)
	c := connected(t, dial(), 10*time.Second)
	c.mustDo(t, zkproto.OpCreate, createRequest("/a", nil, 0))
	c.mustDo(t, zkproto.OpCreate, createRequest("/a/b", nil, zkproto.ModeEphemeral))
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	var sessionKey string
	for key := range contents(t, good) {
		if strings.HasPrefix(key, "2 ") {
			sessionKey = key[2:]
		}
	}
	for name, change := range map[string]zkserver.Change{
		"a later format":                {Bucket: zkserver.BucketMeta, Key: "format", Value: []byte{0, 0, 0, 0, 0, 0, 0, 9}},
		"no format":                     {Bucket: zkserver.BucketMeta, Key: "format"},
		"a damaged zxid":                {Bucket: zkserver.BucketMeta, Key: "zxid", Value: []byte{1}},
		"a damaged node":                {Bucket: zkserver.BucketNodes, Key: "/a", Value: []byte{1, 2, 3}},
		"a node of a later format":      {Bucket: zkserver.BucketNodes, Key: "/a", Value: []byte{2}},
		"a node without parent":         {Bucket: zkserver.BucketNodes, Key: "/a"},
		"no root":                       {Bucket: zkserver.BucketNodes, Key: "/"},
		"no quota node":                 {Bucket: zkserver.BucketNodes, Key: "/zookeeper/quota"},
		"a damaged session":             {Bucket: zkserver.BucketSessions, Key: sessionKey, Value: []byte{1}},
		"a session id of nonsense":      {Bucket: zkserver.BucketSessions, Key: "nonsense", Value: []byte{1}},
		"an ephemeral without session":  {Bucket: zkserver.BucketSessions, Key: sessionKey},
		"a session of a later format":   {Bucket: zkserver.BucketSessions, Key: sessionKey, Value: []byte{7}},
		"a path that is no path at all": {Bucket: zkserver.BucketNodes, Key: "nonsense", Value: []byte{1}},
	} {
		t.Run(name, func(t *testing.T) {
			store := zkserver.NewMemStore()
			var all []zkserver.Change
			if err := good.Load(func(e zkserver.Entry) error { all = append(all, e); return nil }); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(store.Commit(all), store.Commit([]zkserver.Change{change})); err != nil {
				t.Fatal(err)
			}
			s, err := zkserver.New(zkserver.Config{}, store)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(context.Background()); err == nil {
				t.Error("started")
			} else {
				t.Log(err)
			}
			if err := s.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMain runs the server that TestKill kills, when told to.
func TestMain(m *testing.M) {
	if path := os.Getenv("ZKSERVER_TEST_CHILD"); path != "" {
		serveChild(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func serveChild(path string) {
	store, err := zkserver.OpenBolt(path)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	s, err := zkserver.New(zkserver.Config{}, store)
	if err == nil {
		err = s.Start(context.Background())
	}
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	fmt.Println(l.Addr())
	_ = s.Serve(l)
}

// TestKill kills a server process with SIGKILL under load, several times over
// the same file. Everything acknowledged must be there, and numbers go on.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zk")
	acknowledged := map[string]int64{}
	var lastZxid int64
	sessions := map[int64]bool{}
	total := 0
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "ZKSERVER_TEST_CHILD="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || strings.HasPrefix(line, "error") {
			t.Fatalf("round %d: %q %v", round, line, err)
		}
		c := rawDial(t, strings.TrimSpace(line))
		resp, err := c.connect(zkproto.ConnectRequest{TimeoutMS: 40000, LastZxidSeen: lastZxid})
		if err != nil || resp.SessionID == 0 || sessions[resp.SessionID] {
			t.Fatalf("round %d: %+v %v", round, resp, err)
		}
		sessions[resp.SessionID] = true
		there := map[string]bool{}
		for _, name := range c.mustDo(t, zkproto.OpGetChildren, &zkproto.PathWatchRequest{Path: "/"}).body.(*zkproto.GetChildrenResponse).Children {
			there["/"+name] = true
		}
		for path, zxid := range acknowledged {
			if !there[path] {
				t.Errorf("round %d: acknowledged %s is not there", round, path)
			} else if zxid%50 == 0 {
				m, err := c.do(zkproto.OpExists, &zkproto.PathWatchRequest{Path: path}, nil)
				if err != nil || m.body.(*zkproto.StatResponse).Stat.Czxid != zxid {
					t.Errorf("round %d: acknowledged %s at %d: %+v %v", round, path, zxid, m.body, err)
				}
			}
		}
		killAt := total + 100 + rand.IntN(2000)
		go func() {
			for {
				if _, err := c.send(zkproto.OpCreate2, createRequest("/n-", []byte("data"), zkproto.ModePersistentSequential)); err != nil {
					return
				}
			}
		}()
		// The sender owns the client's books, so replies are read by hand.
		for {
			frame, err := zkproto.ReadFrame(c.in, 1<<20, nil)
			if err != nil {
				break
			}
			h, body, err := zkproto.ParseReply(frame)
			if err != nil || h.Err != 0 {
				t.Fatal(err, h)
			}
			var made zkproto.Create2Response
			if err := zkproto.Unmarshal(body, &made); err != nil {
				t.Fatal(err)
			}
			if _, twice := acknowledged[made.Path]; twice {
				t.Errorf("round %d: %s was made twice", round, made.Path)
			}
			if made.Stat.Czxid <= lastZxid {
				t.Errorf("round %d: zxid %d after %d", round, made.Stat.Czxid, lastZxid)
			}
			lastZxid = made.Stat.Czxid
			total++
			acknowledged[made.Path] = made.Stat.Czxid
			if total == killAt {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
		c.nc.Close()
	}
	t.Logf("%d nodes acknowledged over 5 kills", total)
}

// A loss of power while bbolt writes its last page of a commit, one of the two
// meta pages, leaves that page torn: the file then holds the commit before.
func TestTornCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zk")
	s := openBolt(t, path)
	page := os.Getpagesize()
	var states []map[string]string
	for i := range 6 {
		if err := s.Commit([]zkserver.Change{
			{Bucket: zkserver.BucketMeta, Key: "n", Value: []byte{byte(i)}},
			{Bucket: zkserver.BucketNodes, Key: fmt.Sprintf("/%d", i), Value: make([]byte, 3000)},
		}); err != nil {
			t.Fatal(err)
		}
		states = append(states, contents(t, s))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]bool{}
	for meta := range 2 {
		for _, from := range []int{20, 40, 60, 70} { // past the page's header
			torn := bytes.Clone(whole)
			for i := from; i < 80; i++ {
				torn[meta*page+i] ^= 0x55
			}
			file := fmt.Sprintf("%s-%d-%d", path, meta, from)
			if err := os.WriteFile(file, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			s := openBolt(t, file)
			got := fmt.Sprint(contents(t, s))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			state := 0
			for i := range states {
				if got == fmt.Sprint(states[i]) {
					state = i
				}
			}
			found[state] = true
		}
	}
	if len(found) != 2 || !found[5] || !found[4] {
		t.Errorf("states after a torn meta page: %v, want the last commit and the one before", found)
	}
}
