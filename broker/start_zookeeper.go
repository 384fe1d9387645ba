package broker

import (
	"context"
	"slices"
	"sync"

	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

func (p *parts) startZooKeeper(ctx context.Context) (err error) {
	if !p.cfg.ZooKeeper.Embedded {
		return nil
	}
	p.zookeeper, err = startEmbedded(ctx, p.env, p.cfg.ZooKeeper, p.cfg.Storage.Dirs[0], p.fail)
	return err
}

func (p *parts) stopZooKeeper(ctx context.Context) error {
	if p.zookeeper == nil {
		return nil
	}
	return p.zookeeper.stop(ctx)
}

func (p *parts) startSession(ctx context.Context) (err error) {
	cfg := sessionConfig(p.env, p.cfg.ZooKeeper, p.zookeeper)
	if p.session, err = session.New(cfg); err != nil {
		return err
	}
	p.zk = zkmeta.New(p.session)
	p.session.OnSession(p.events.tell)
	p.registration = &registration{zk: p.zk, store: p.store, session: cfg, logger: p.logger}
	p.registration.epoch.Store(-1)
	if err := p.session.Start(ctx); err != nil {
		return err
	}
	// Only now, when it is known that ZooKeeper answers.
	dissolvePredecessor(ctx, p.store, cfg, p.logger)
	return nil
}

// stopSession closes the session, which takes this broker's registration with
// it; nothing is left for the next process to close. If ZooKeeper does not answer,
// the next process finds the session's secret and closes it: no reason to call
// the stop unclean.
func (p *parts) stopSession(ctx context.Context) error {
	if err := p.session.Stop(ctx); err != nil {
		p.logger.Warn("ZooKeeper does not answer: this broker stays registered until it is started again or the session expires", "error", err)
		return nil
	}
	return p.store.SaveState(sessionFile, nil)
}

// fanout hands events to components that are built one after the other. It may be
// used concurrently; subscribers return at once.
type fanout[E any] struct {
	mu          sync.Mutex
	subscribers []func(E)
}

func (f *fanout[E]) subscribe(on func(E)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscribers = append(f.subscribers, on)
}

func (f *fanout[E]) tell(e E) {
	f.mu.Lock()
	subscribers := slices.Clone(f.subscribers)
	f.mu.Unlock()
	for _, on := range subscribers {
		on(e)
	}
}
