package compat

import (
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// quietZK drops the client's log.
type quietZK struct{}

func (quietZK) Printf(string, ...any) {}

// dialZooKeeper returns a client and the path under which the cluster lives.
func dialZooKeeper(t *testing.T, connect string) (*zk.Conn, string) {
	t.Helper()
	servers, chroot, _ := strings.Cut(connect, "/")
	conn, _, err := zk.Connect(strings.Split(servers, ","), 10*time.Second, zk.WithLogger(quietZK{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn, "/" + chroot
}

// waitForSession waits until no broker is registered: Kafka does not start while
// the session of a broker that was killed lives on.
func waitForSession(t *testing.T, connect string) {
	t.Helper()
	conn, root := dialZooKeeper(t, connect)
	defer conn.Close()
	waitUntil(t, "no broker is registered", func() bool {
		there, _, err := conn.Exists(root + "/brokers/ids/1")
		if err != nil {
			t.Fatal(err)
		}
		return !there
	})
}
