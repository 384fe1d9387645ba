package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/internal/simnet"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// simZooKeeper is the ZooKeeper of the cluster. What it has answered is stored.
type simZooKeeper struct {
	s       *simulation
	store   *zkserver.MemStore
	process *simnet.Process
	server  *zkserver.Server
	serving sync.WaitGroup
}

func (z *simZooKeeper) up() {
	if z.process != nil {
		return
	}
	z.process = z.s.net.Process(zooKeeperMachine)
	server, err := zkserver.New(zkserver.Config{MinSessionTimeout: time.Second, Logger: z.s.logger.With("on", "zookeeper")}, z.store)
	if err == nil {
		err = server.Start(context.Background())
	}
	l, lerr := z.process.Listen(elsewhereAddress)
	if err := errors.Join(err, lerr); err != nil {
		z.s.t.Fatal(err)
	}
	z.server = server
	z.serving.Go(func() { server.Serve(l) })
}

func (z *simZooKeeper) down() {
	if z.process == nil {
		return
	}
	z.process.Kill()
	z.process = nil
	if err := z.server.Stop(context.Background()); err != nil {
		z.s.t.Error(err)
	}
	z.serving.Wait()
}
