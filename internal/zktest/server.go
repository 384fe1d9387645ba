package zktest

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// Server is a ZooKeeper that a test may use.
type Server struct {
	// Dial reaches it, whatever the address.
	Dial Dial
	// Chroot is a path of the test's own: "" on an embedded server, which is the
	// test's own altogether.
	Chroot string
	// MinTimeout is the shortest session timeout that it grants.
	MinTimeout time.Duration
}

// chroots numbers the tests of one process on a real server.
var chroots atomic.Int64

// Start returns the server at the address in the environment variable
// ZOOKEEPER_CONNECT, or starts an embedded one in memory. It ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	if addr := os.Getenv("ZOOKEEPER_CONNECT"); addr != "" {
		addr, _, _ = strings.Cut(addr, ",")
		return &Server{
			Dial: func(ctx context.Context, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", addr)
			},
			Chroot:     fmt.Sprintf("/test-%d-%d-%d", time.Now().UnixMilli(), os.Getpid(), chroots.Add(1)),
			MinTimeout: time.Second,
		}
	}
	return Embedded(t)
}

// Embedded starts an embedded server in memory, which works in a synctest bubble. It
// ends with the test.
func Embedded(t testing.TB) *Server {
	t.Helper()
	store := zkserver.NewMemStore()
	s, err := zkserver.New(zkserver.Config{TickTime: 500 * time.Millisecond, MinSessionTimeout: time.Second}, store)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	l := inproc.Listen("zk")
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("stop the embedded server: %v", err)
		}
		<-served
		store.Close()
	})
	return &Server{
		Dial:       func(ctx context.Context, _ string) (net.Conn, error) { return l.Dial(ctx) },
		MinTimeout: time.Second,
	}
}
