package statelog

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

const (
	loadRetry    = time.Second
	loadRetryMax = 30 * time.Second
	// lateReplicas is when it is said that a load waits for replicas.
	lateReplicas = 10 * time.Second
)

// Loads loads the partitions of a coordinator's topic, a bounded number at a time. Safe
// for concurrent use.
type Loads struct {
	topic  string
	whose  string // who has to wait meanwhile
	log    Log
	logger *slog.Logger
	turns  chan struct{}
}

// NewLoads leaves one processor free. whose is what the topic keeps the state of, for the
// log's lines: "groups".
func NewLoads(topic, whose string, log Log, logger *slog.Logger) Loads {
	return Loads{topic, whose, log, logger, make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))}
}

// Run calls load when it is a partition's turn, and again, after a while, as long as it
// fails and ctx has not ended: a coordinator that served what could be read so far would
// have forgotten what it has promised.
//
// The end of the log may be here and nowhere else yet. It is not read before all in-sync
// replicas have it: a later leader might not, and would say and decide otherwise. Kafka
// does not wait. epoch is the one in which this broker began to lead.
func (l Loads) Run(ctx context.Context, partition, epoch int32, load func() error) {
	logger := l.logger.With("partition", partition, "epoch", epoch)
	late := time.AfterFunc(lateReplicas, func() {
		logger.Warn(fmt.Sprintf("the in-sync replicas of a partition of %s are late or too few, and its %s have to wait", l.topic, l.whose))
	})
	err := awaitCommitted(ctx, l.log, partition, epoch)
	late.Stop()
	if err != nil {
		logger.Info(fmt.Sprintf("a partition of %s is not led here long enough to be loaded", l.topic), "err", err)
		return
	}
	for wait := loadRetry; ; wait = min(2*wait, loadRetryMax) {
		err := l.try(ctx, load)
		if err == nil || ctx.Err() != nil {
			return
		}
		logger.Error(fmt.Sprintf("cannot load a partition of %s, and its %s have to wait", l.topic, l.whose), "err", err, "retry", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// awaitCommitted waits until nothing that a partition has now can be lost to another
// leader. Errors are those of Log.NotifyCommitted, and ctx's.
func awaitCommitted(ctx context.Context, log Log, partition, epoch int32) error {
	done := make(chan error, 1)
	log.NotifyCommitted(partition, epoch, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l Loads) try(ctx context.Context, load func() error) error {
	select {
	case l.turns <- struct{}{}:
		defer func() { <-l.turns }()
		return load()
	case <-ctx.Done():
		return ctx.Err()
	}
}
