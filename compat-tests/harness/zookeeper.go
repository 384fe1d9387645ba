package harness

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

var shared struct {
	mu      sync.Mutex
	connect string
	stop    func()
}

// ZooKeeper returns a connect string with a path of its own for this test, on
// the server that ZOOKEEPER_CONNECT names or else on an Apache ZooKeeper that
// is started once for all tests of the process.
func ZooKeeper(t TB) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.connect == "" {
		if shared.connect = os.Getenv("ZOOKEEPER_CONNECT"); shared.connect == "" {
			shared.connect = startShared(t)
		}
	}
	return fmt.Sprintf("%s/compat-%d", strings.TrimRight(shared.connect, "/"), rand.Uint64())
}

// StopShared ends what ZooKeeper started; TestMain calls it.
func StopShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.stop != nil {
		shared.stop()
	}
}

// startShared starts a ZooKeeper that outlives the test that needs it first.
func startShared(t TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gracchus-zookeeper-")
	if err != nil {
		t.Fatal(err)
	}
	z := &ZooKeeperServer{t: &outliving{TB: t}, dir: dir, port: FreePort(t)}
	z.Start()
	shared.stop = func() {
		z.Kill()
		os.RemoveAll(dir)
	}
	return z.Addr()
}

// ZooKeeperServer is an Apache ZooKeeper that a test may end and start again. It keeps
// its address and its data.
type ZooKeeperServer struct {
	*Process
	t    TB
	dir  string
	port int
}

// StartZooKeeper starts an Apache ZooKeeper for this test alone.
func StartZooKeeper(t TB) *ZooKeeperServer {
	t.Helper()
	z := &ZooKeeperServer{t: t, dir: t.TempDir(), port: FreePort(t)}
	z.Start()
	return z
}

// Addr is host:port where it serves clients.
func (z *ZooKeeperServer) Addr() string { return fmt.Sprintf("127.0.0.1:%d", z.port) }

// Start starts it, after it has ended too, and returns when it serves clients.
func (z *ZooKeeperServer) Start() {
	z.t.Helper()
	Fetch(z.t, "kafka")
	z.Process = start(z.t, "ZooKeeper", exec.Command(filepath.Join(Repository(), "scripts", "zookeeper"), z.dir, fmt.Sprint(z.port)))
	deadline := time.Now().Add(60 * time.Second)
	for !answers(z.Addr()) {
		if z.Ended() || time.Now().After(deadline) {
			z.t.Fatalf("ZooKeeper does not answer:\n%s", z.Tail(40))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// answers says whether a ZooKeeper at the address serves clients. (ruok is
// answered before that.)
func answers(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("srvr")); err != nil {
		return false
	}
	reply, err := io.ReadAll(conn)
	return err == nil && bytes.Contains(reply, []byte("Mode: "))
}

// FreePort is a TCP port that nobody listens on.
func FreePort(t TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// outliving drops cleanups: what it is given to lives on after the test.
type outliving struct{ TB }

func (outliving) Cleanup(func()) {}
