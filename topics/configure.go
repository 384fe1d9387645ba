package topics

import (
	"context"
	"errors"
	"maps"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Configs returns a topic's own configuration values; a topic without, or no topic,
// has none.
func (m *Manager) Configs(ctx context.Context, topic string) (map[string]string, error) {
	return m.zk.Config(ctx, zkmeta.TopicConfig(topic))
}

// ReplaceConfigs makes values the topic's own configuration (AlterConfigs) and tells
// all brokers. Values that are null are left out. The error wraps
// kerr.UnknownTopicOrPartition, kerr.InvalidConfig, or kerr.NotController while the
// cluster has none.
func (m *Manager) ReplaceConfigs(ctx context.Context, topic string, values []ConfigOp, validateOnly bool) error {
	replace := func(own map[string]string) error {
		clear(own)
		for _, v := range values {
			if v.Value != nil {
				own[v.Name] = *v.Value
			}
		}
		return nil
	}
	return m.changeConfigs(ctx, topic, replace, validateOnly)
}

// ChangeConfigs applies single changes to the topic's own configuration
// (IncrementalAlterConfigs, KIP-339) and tells all brokers. Errors are those of
// ReplaceConfigs.
func (m *Manager) ChangeConfigs(ctx context.Context, topic string, ops []ConfigOp, validateOnly bool) error {
	return m.changeConfigs(ctx, topic, func(own map[string]string) error { return applyOps(own, ops) }, validateOnly)
}

func (m *Manager) changeConfigs(ctx context.Context, topic string, edit func(own map[string]string) error, validateOnly bool) error {
	if topic == "" {
		return refuse(kerr.InvalidRequest, "Default topic resources are not allowed.")
	}
	found, err := m.zk.TopicAssignments(ctx, []string{topic}, nil)
	if err != nil {
		return err
	}
	if errors.Is(found[0].Err, kerr.UnknownTopicOrPartition) {
		return refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", topic)
	}
	check := func(own map[string]string) error {
		if err := edit(own); err != nil {
			return err
		}
		err := m.settings.ValidateTopicAll(own)
		var invalid *config.InvalidTopicConfig
		if errors.As(err, &invalid) {
			return refuse(kerr.InvalidConfig, "%s", invalid.AlterMessage(topic))
		}
		return err
	}
	entity := zkmeta.TopicConfig(topic)
	if validateOnly {
		own, err := m.zk.Config(ctx, entity)
		if err != nil {
			return err
		}
		return check(maps.Clone(own))
	}
	if err := m.zk.UpdateConfig(ctx, entity, check); err != nil {
		return noController(err)
	}
	m.cfg.Logger.Debug("configured a topic", "topic", topic)
	return m.zk.NotifyConfigChange(ctx, entity)
}

// applyOps changes own values in place.
func applyOps(own map[string]string, ops []ConfigOp) error {
	for _, o := range ops {
		if o.Op == kmsg.IncrementalAlterConfigOpDelete {
			delete(own, o.Name)
			continue
		}
		if o.Value == nil {
			return refuse(kerr.InvalidRequest, "Null value not supported for : %s", o.Name)
		}
		if o.Op == kmsg.IncrementalAlterConfigOpSet {
			own[o.Name] = *o.Value
			continue
		}
		edit, verb := config.AppendToList, "append"
		if o.Op == kmsg.IncrementalAlterConfigOpSubtract {
			edit, verb = config.SubtractFromList, "subtract"
		}
		if !config.IsTopicConfig(o.Name) {
			return refuse(kerr.InvalidConfig, "Unknown config name: %s", o.Name)
		}
		if !config.IsTopicList(o.Name) {
			return refuse(kerr.InvalidConfig, "Config value %s is not allowed for config key: %s", verb, o.Name)
		}
		current, set := own[o.Name]
		if !set {
			current = config.TopicListDefault(o.Name)
		}
		own[o.Name] = edit(current, *o.Value)
	}
	return nil
}

// noController makes the one error of configuration writes that is not Kafka's an
// error that clients try again after.
func noController(err error) error {
	if errors.Is(err, zkmeta.ErrNoController) {
		return refuse(kerr.NotController, "The cluster has no controller at the moment.")
	}
	return err
}
