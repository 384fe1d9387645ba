// Package topics creates, expands, configures and deletes topics by writing
// their znodes, as any broker may; the controller sees the change and does the
// rest.
package topics

import (
	"context"
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Config of a Manager.
type Config struct {
	BrokerID int32
	Listener string // inter-broker listener
	Logger   *slog.Logger
}

// Manager writes topics. It keeps no state of its own: what exists is asked of
// ZooKeeper and of the view, so every method may be called concurrently.
type Manager struct {
	cfg      Config
	zk       *zkmeta.Client
	view     *cluster.View
	settings *config.Settings
}

// New validates the configuration.
func New(cfg Config, zk *zkmeta.Client, view *cluster.View, settings *config.Settings) (*Manager, error) {
	return &Manager{cfg: cfg, zk: zk, view: view, settings: settings}, nil
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

// Create makes topics and waits, at most timeout, until this broker's view has
// all their partitions with leaders. Results are in the order of the requests.
// A topic that was written but did not show up in time has kerr.RequestTimedOut,
// as has every topic when timeout <= 0.
func (m *Manager) Create(ctx context.Context, requests []CreateRequest, timeout time.Duration, validateOnly bool) []CreateResult {
	return nil
}

// AutoCreate makes one topic as a Metadata request for an unknown one does: with
// the broker's defaults (for an internal topic, its own), without waiting.
// kerr.TopicAlreadyExists is success. Errors are those that Metadata shows:
// kerr.InvalidTopicException, kerr.InvalidReplicationFactor, or
// kerr.UnknownTopicOrPartition / kerr.LeaderNotAvailable for "ask again".
func (m *Manager) AutoCreate(ctx context.Context, name string) error { return nil }

// Delete marks topics for deletion and waits, at most timeout, until this
// broker's view has lost them. Errors are in the order of names.
func (m *Manager) Delete(ctx context.Context, names []string, timeout time.Duration) []error {
	return nil
}

// ExpandRequest asks for more partitions of one topic.
type ExpandRequest struct {
	Name       string
	Count      int32     // partitions in total
	Assignment [][]int32 // of the added partitions, in order; nil lets the broker place them
}

// Expand adds partitions and waits as Create does. Errors are in the order of
// the requests.
func (m *Manager) Expand(ctx context.Context, requests []ExpandRequest, timeout time.Duration, validateOnly bool) []error {
	return nil
}

// Configs returns a topic's own configuration values.
func (m *Manager) Configs(ctx context.Context, topic string) (map[string]string, error) {
	return nil, nil
}

// ReplaceConfigs makes values the topic's own configuration (AlterConfigs).
func (m *Manager) ReplaceConfigs(ctx context.Context, topic string, values []ConfigOp, validateOnly bool) error {
	return nil
}

// ChangeConfigs applies single changes to the topic's own configuration
// (IncrementalAlterConfigs).
func (m *Manager) ChangeConfigs(ctx context.Context, topic string, ops []ConfigOp, validateOnly bool) error {
	return nil
}
