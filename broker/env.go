package broker

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"

	"github.com/gracchus-mq/gracchus/storage/vfs"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// Env is everything outside the process that a broker touches. Tests replace
// its parts: a whole broker runs on a memory file system, a memory store and
// in-process connections inside one testing/synctest bubble.
type Env struct {
	FS vfs.FS
	// Listen opens a socket at host:port.
	Listen func(ctx context.Context, address string) (net.Listener, error)
	// Dial connects to another broker or to ZooKeeper at host:port.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Hostname is this machine's name as others should know it.
	Hostname func(ctx context.Context) string
	// OpenZooKeeperStore opens the store of the embedded ZooKeeper, which lives
	// in the plain file path.
	OpenZooKeeperStore func(path string) (zkserver.Store, error)
	Logger             *slog.Logger
	// HeapBytes is the most that the heap may take; 0 is not known.
	HeapBytes int64
}

// HostEnv is the machine: real files, real sockets.
func HostEnv(logger *slog.Logger) Env {
	var listen net.ListenConfig
	dial := net.Dialer{Timeout: 10 * time.Second}
	return Env{
		FS: vfs.OS(),
		Listen: func(ctx context.Context, address string) (net.Listener, error) {
			return listen.Listen(ctx, "tcp", address)
		},
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return dial.DialContext(ctx, "tcp", address)
		},
		Hostname: hostname,
		OpenZooKeeperStore: func(path string) (zkserver.Store, error) {
			return zkserver.OpenBolt(path)
		},
		Logger: logger,
	}
}

// groupMemory is what consumer groups may take unless somebody says something else: a
// quarter of the heap, or a gigabyte's worth of it if that has no limit.
func (e Env) groupMemory() int64 { return e.heapPart(4) }

// transactionMemory is what transactional ids may take unless somebody says something
// else: a sixteenth of the heap, which in a gigabyte are 130,000 ids.
func (e Env) transactionMemory() int64 { return e.heapPart(16) }

// heapPart is one of so many parts of the heap, or of a gigabyte if it has no limit.
func (e Env) heapPart(parts int64) int64 {
	const unlimited = 1 << 30
	if e.HeapBytes <= 0 || e.HeapBytes == math.MaxInt64 {
		return unlimited / parts
	}
	return e.HeapBytes / parts
}

func (e Env) validate() error {
	if e.FS == nil || e.Listen == nil || e.Dial == nil || e.Hostname == nil || e.OpenZooKeeperStore == nil || e.Logger == nil {
		return fmt.Errorf("broker: an Env needs all of its parts")
	}
	return nil
}
