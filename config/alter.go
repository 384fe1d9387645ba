package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// InvalidTopicConfig is why a topic cannot have the values somebody wants to
// give it. Its text is Kafka's.
type InvalidTopicConfig struct {
	Message string
	value   bool // about one value, rather than about the set of them
}

func (e *InvalidTopicConfig) Error() string { return e.Message }

// Unwrap makes it kerr.InvalidConfig.
func (e *InvalidTopicConfig) Unwrap() error { return kerr.InvalidConfig }

// AlterMessage is the text with which AlterConfigs and IncrementalAlterConfigs
// answer: Kafka says there which topic it is about, but only when the fault is
// in one value. CreateTopics answers with Message.
func (e *InvalidTopicConfig) AlterMessage(topic string) string {
	if !e.value {
		return e.Message
	}
	return fmt.Sprintf("Invalid config value for resource ConfigResource(type=TOPIC, name='%s'): %s", topic, e.Message)
}

// ValidateTopic says whether a topic may have this value of its own. The error
// is an *InvalidTopicConfig.
func (s *Settings) ValidateTopic(name, value string) error {
	return s.ValidateTopicAll(map[string]string{name: value})
}

// ValidateTopicAll checks a topic's whole set of own values, the rules between
// properties included, as CreateTopics, AlterConfigs and
// IncrementalAlterConfigs must before they write it. The error is an
// *InvalidTopicConfig.
func (s *Settings) ValidateTopicAll(own map[string]string) error {
	unknown := make([]string, 0)
	for name := range own {
		if topicTable.byName[name] == nil {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return &InvalidTopicConfig{Message: "Unknown topic config name: " + slices.Min(unknown)}
	}
	for i := range topicTable.rows {
		p := &topicTable.rows[i]
		if value, given := own[p.name]; given {
			if _, invalid := p.parse(value); invalid != nil {
				return &InvalidTopicConfig{Message: invalid.Error(), value: true}
			}
		}
	}
	v := topicValues(s.layers.Load().values, own)
	if least, most := v.int64("min.compaction.lag.ms"), v.int64("max.compaction.lag.ms"); least > most {
		return &InvalidTopicConfig{Message: "conflict topic config setting min.compaction.lag.ms (" + strconv.FormatInt(least, 10) +
			") > max.compaction.lag.ms (" + strconv.FormatInt(most, 10) + ")"}
	}
	if v.bool("remote.log.delete.on.disable") || v.bool("remote.log.copy.disable") {
		return &InvalidTopicConfig{Message: "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under Zookeeper's mode."}
	}
	if v.bool("remote.storage.enable") {
		return &InvalidTopicConfig{Message: "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.", value: true}
	}
	return nil
}

// IsTopicConfig says whether a topic can have a value for this property.
func IsTopicConfig(name string) bool { return topicTable.byName[name] != nil }

// IsTopicList says whether a topic property is a list, which is what APPEND and
// SUBTRACT need.
func IsTopicList(name string) bool {
	p := topicTable.byName[name]
	return p != nil && p.kind == kindList
}

// TopicListDefault is what APPEND and SUBTRACT start from when the topic has no
// value of its own: Kafka's default, whatever this broker's file says.
func TopicListDefault(name string) string {
	p := topicTable.byName[name]
	if p == nil {
		return ""
	}
	if p.broker != "" {
		return brokerTable.byName[p.broker].value
	}
	return p.value
}

// AppendToList adds items to a comma-separated value as IncrementalAlterConfigs
// does: what is there already is not repeated. current is the topic's own value,
// or TopicListDefault.
func AppendToList(current, items string) string {
	var list []string
	if current != "" {
		list = strings.Split(current, ",")
	}
	old := len(list)
	for _, item := range strings.Split(items, ",") {
		if !slices.Contains(list[:old], item) {
			list = append(list, item)
		}
	}
	return strings.Join(list, ",")
}

// SubtractFromList takes items out of a comma-separated value; one that is not
// there is no error.
func SubtractFromList(current, items string) string {
	list := strings.Split(current, ",")
	for _, item := range strings.Split(items, ",") {
		if i := slices.Index(list, item); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
	}
	return strings.Join(list, ",")
}
