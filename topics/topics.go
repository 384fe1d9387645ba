// Package topics creates, expands, configures and deletes topics by writing
// their znodes, as any broker may; the controller sees the change and does the
// rest.
package topics

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Config of a Manager.
type Config struct {
	// Random returns a number from 0 up to below n; placement starts there. nil means
	// the usual source.
	Random func(n int) int
	Logger *slog.Logger
}

// Manager writes topics. What exists it asks of ZooKeeper and of the view; of its
// own it only remembers which topics are being created automatically at this moment
// (under mu, which is held for map accesses). Every method may be called
// concurrently.
type Manager struct {
	cfg      Config
	zk       *zkmeta.Client
	view     *cluster.View
	settings *config.Settings

	mu       sync.Mutex
	creating map[string]bool
}

// New validates the configuration.
func New(cfg Config, zk *zkmeta.Client, view *cluster.View, settings *config.Settings) (*Manager, error) {
	if zk == nil || view == nil || settings == nil {
		return nil, errors.New("topics: a ZooKeeper client, a view and settings are required")
	}
	if cfg.Random == nil {
		cfg.Random = rand.IntN
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Manager{cfg: cfg, zk: zk, view: view, settings: settings, creating: map[string]bool{}}, nil
}

// ConfigOp is one change to one configuration of a topic or broker.
type ConfigOp struct {
	Name  string
	Value *string
	Op    kmsg.IncrementalAlterConfigOp // ignored where a whole set is replaced
}

// CreateRequest asks for one topic.
type CreateRequest struct {
	Name              string
	Partitions        int32 // -1: the broker's default
	ReplicationFactor int16 // -1: the broker's default
	// Assignment places replicas by hand; then Partitions and ReplicationFactor
	// are -1. A nil map lets the broker place them.
	Assignment map[int32][]int32
	Configs    []ConfigOp // Name and Value
}

// CreateResult tells what was made (or, when only validating, would be).
type CreateResult struct {
	Name              string
	ID                protocol.TopicID // zero when only validating
	Partitions        int32
	ReplicationFactor int16
	Configs           map[string]string // the topic's own values
	Err               error             // wraps a *kerr.Error; its text is fit for the client
}

// ExpandRequest asks for more partitions of one topic.
type ExpandRequest struct {
	Name       string
	Count      int32     // partitions in total
	Assignment [][]int32 // of the added partitions, in order; nil lets the broker place them
}

// locations lists the live brokers, by id.
func locations(s *cluster.Snapshot) []location {
	brokers := make([]location, len(s.Brokers()))
	for i, b := range s.Brokers() {
		brokers[i] = location{b.ID, b.Rack}
	}
	return brokers
}
