package topics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// ChangesConfig of a Changes listener. The callbacks are called from one goroutine,
// during Start from its caller's.
type ChangesConfig struct {
	BrokerID int32
	// Topic is called with the own configuration of a topic that changed.
	Topic func(topic string, own map[string]string)
	// Broker is called when this broker's dynamic configuration, which all topics
	// inherit, has changed in Settings. It may be nil.
	Broker func()
	Logger *slog.Logger
}

// Changes follows /config/changes: topic configurations go to a callback, dynamic
// broker configurations into Settings, both without a restart. What a notification
// says is only that an entity has changed; the entity itself is read.
//
// One goroutine does all of it. The watch, and a new session, which loses the watch,
// wake it; it reads all that is new, so that nothing depends on how often it was
// woken.
type Changes struct {
	cfg      ChangesConfig
	zk       *zkmeta.Client
	settings *config.Settings
	follow   *zkmeta.ConfigChanges
	pending  []zkmeta.ConfigEntity // notified of, and not read since
	wake     chan struct{}         // capacity 1
	watch    *session.Watch
	cancel   context.CancelFunc
	ended    chan struct{}
}

// retryAfter is how long Changes waits after a failure that ZooKeeper's own recovery
// does not explain.
const retryAfter = time.Second

// NewChanges validates the configuration. OnSession is to be given the session's
// events.
func NewChanges(cfg ChangesConfig, zk *zkmeta.Client, settings *config.Settings) (*Changes, error) {
	if cfg.Topic == nil || zk == nil || settings == nil {
		return nil, errors.New("topics: a callback for topics, a ZooKeeper client and settings are required")
	}
	if cfg.Broker == nil {
		cfg.Broker = func() {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Changes{cfg: cfg, zk: zk, settings: settings, follow: zk.ConfigChanges(), wake: make(chan struct{}, 1)}
	c.watch = session.NewWatch(func(session.WatchEvent) { c.signal() })
	return c, nil
}

func (c *Changes) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// OnSession makes the listener look again when a session begins or comes back. It
// returns at once.
func (c *Changes) OnSession(e session.Event) {
	if e.Kind == session.Connected {
		c.signal()
	}
}

// Start loads the broker's dynamic configuration into Settings, replays the
// change notifications that exist, and returns when both are done; from then on
// changes apply as they come. ctx bounds the start only.
func (c *Changes) Start(ctx context.Context) error {
	if c.cancel != nil {
		return errors.New("topics: started twice")
	}
	both := []zkmeta.ConfigEntity{zkmeta.DefaultConfig(zkmeta.BrokerEntities), zkmeta.BrokerConfig(c.cfg.BrokerID)}
	if err := c.apply(ctx, both); err != nil {
		return fmt.Errorf("loading the dynamic configuration: %w", err)
	}
	if err := c.read(ctx); err != nil {
		return fmt.Errorf("reading the changes of configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel, c.ended = cancel, make(chan struct{})
	go func() {
		defer close(c.ended)
		c.run(ctx)
	}()
	return nil
}

// Stop ends the listener.
func (c *Changes) Stop(ctx context.Context) error {
	if c.cancel == nil {
		return nil
	}
	c.cancel()
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping the listener of configuration changes: %w", ctx.Err())
	}
}

func (c *Changes) run(ctx context.Context) {
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		err := c.read(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, session.ErrExpired) {
			continue // a new session wakes it again
		}
		c.cfg.Logger.Error("cannot read the changes of configuration", "error", err, "again in", retryAfter)
		select {
		case <-time.After(retryAfter):
			c.signal()
		case <-ctx.Done():
		}
	}
}

// read applies what changed since the last time, and arms the watch. A notification
// is given out once: what it names is kept until it has been read.
func (c *Changes) read(ctx context.Context) error {
	changed, malformed, err := c.follow.Next(ctx, c.watch)
	if err != nil {
		return err
	}
	for _, err := range malformed {
		c.cfg.Logger.Warn("a notification of a changed configuration cannot be read and is skipped", "error", err)
	}
	for _, e := range changed {
		if !slices.Contains(c.pending, e) {
			c.pending = append(c.pending, e)
		}
	}
	if err := c.apply(ctx, c.pending); err != nil {
		return err
	}
	c.pending = nil
	return nil
}

// apply reads entities and hands on those that this broker acts on.
func (c *Changes) apply(ctx context.Context, entities []zkmeta.ConfigEntity) error {
	if len(entities) == 0 {
		return nil
	}
	entries, err := c.zk.Configs(ctx, entities)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Err != nil {
			c.cfg.Logger.Error("a configuration cannot be read; what was set before holds", "entity", e.Entity, "error", e.Err)
			continue
		}
		switch {
		case e.Entity.Kind() == zkmeta.TopicEntities:
			c.cfg.Topic(e.Entity.Name(), e.Values)
		case e.Entity == zkmeta.DefaultConfig(zkmeta.BrokerEntities):
			c.refused(c.settings.SetClusterDefaults(e.Values))
			c.cfg.Broker()
		case e.Entity == zkmeta.BrokerConfig(c.cfg.BrokerID):
			c.refused(c.settings.SetBrokerOverrides(e.Values))
			c.cfg.Broker()
		}
	}
	return nil
}

func (c *Changes) refused(properties map[string]error) {
	for name, err := range properties {
		c.cfg.Logger.Warn("a dynamic property has no effect", "property", name, "reason", err)
	}
}

// TopicConfigs reads the own configuration of all topics at once, for a broker that
// is about to open its logs. One that cannot be read counts as empty: a broker must
// not refuse to serve a topic over it.
func TopicConfigs(ctx context.Context, zk *zkmeta.Client) (map[string]map[string]string, error) {
	entities, err := zk.ConfigEntities(ctx, zkmeta.TopicEntities)
	if err != nil {
		return nil, err
	}
	entries, err := zk.Configs(ctx, entities)
	if err != nil {
		return nil, err
	}
	own := make(map[string]map[string]string, len(entries))
	for _, e := range entries {
		if e.Err == nil {
			own[e.Entity.Name()] = e.Values
		}
	}
	return own, nil
}
