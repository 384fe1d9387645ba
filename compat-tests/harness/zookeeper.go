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
	Fetch(t, "kafka")
	dir, err := os.MkdirTemp("", "gracchus-zookeeper-")
	if err != nil {
		t.Fatal(err)
	}
	outlive := &outliving{TB: t}
	port := FreePort(t)
	p := start(outlive, "ZooKeeper", exec.Command(filepath.Join(Repository(), "scripts", "zookeeper"), dir, fmt.Sprint(port)))
	shared.stop = func() {
		p.Kill()
		os.RemoveAll(dir)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	deadline := time.Now().Add(60 * time.Second)
	for !answers(address) {
		if p.Ended() || time.Now().After(deadline) {
			t.Fatalf("ZooKeeper does not answer:\n%s", p.Tail(40))
		}
		time.Sleep(50 * time.Millisecond)
	}
	return address
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
