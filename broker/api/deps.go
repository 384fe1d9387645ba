package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/controller"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// The interfaces here are what handlers need of packages that cannot be had in a
// test without ZooKeeper.

// Topics makes, changes and deletes topics: *topics.Manager.
type Topics interface {
	Create(ctx context.Context, requests []topics.CreateRequest, timeout time.Duration, validateOnly bool) []topics.CreateResult
	AutoCreate(ctx context.Context, name string) error
	Delete(ctx context.Context, names []string, timeout time.Duration) []error
	Expand(ctx context.Context, requests []topics.ExpandRequest, timeout time.Duration, validateOnly bool) []error
	Configs(ctx context.Context, topic string) (map[string]string, error)
	ReplaceConfigs(ctx context.Context, topic string, values []topics.ConfigOp, validateOnly bool) error
	ChangeConfigs(ctx context.Context, topic string, ops []topics.ConfigOp, validateOnly bool) error
}

// Controller is this broker as controller, if it is: *controller.Controller.
type Controller interface {
	Active() (epoch int32, active bool)
	AllocateProducerIDs(ctx context.Context, brokerID int32, brokerEpoch int64) (first int64, length int32, err error)
	AlterPartition(ctx context.Context, broker int32, brokerEpoch int64, changes []controller.ISRChange) ([]controller.ISRResult, error)
	ControlledShutdown(ctx context.Context, broker int32, brokerEpoch int64) ([]protocol.TopicPartition, error)
	ElectLeaders(ctx context.Context, unclean bool, partitions []protocol.TopicPartition) ([]controller.ElectionResult, error)
}

// OldOffsets keeps the offsets of groups that know no other place than ZooKeeper:
// *zkmeta.Client.
type OldOffsets interface {
	ConsumerOffsets(ctx context.Context, group string, list []zkmeta.ConsumerOffset)
	SetConsumerOffsets(ctx context.Context, group string, list []zkmeta.ConsumerOffset)
}

// Peers sends requests to brokers: *peer.Pool.
type Peers interface {
	Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error)
}

// ProducerIDs hands out producer ids: *producerid.Allocator.
type ProducerIDs interface {
	Next(ctx context.Context) (int64, error)
}
