package zkmeta

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

// TestDecodeOlder reads what older releases wrote, and what Kafka's readers let
// pass.
func TestDecodeOlder(t *testing.T) {
	eq := func(name string, got any, err error, want any) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", name, got, err, want)
		}
	}
	plain := []Endpoint{{"PLAINTEXT", "PLAINTEXT", "h", 9092}}

	r, err := DecodeBrokerRegistration(1, []byte(`{"version":1,"host":"h","port":9092,"jmx_port":9999,"timestamp":"2233345666"}`))
	eq("registration 1", r, err, BrokerRegistration{ID: 1, JMXPort: 9999, TimestampMS: 2233345666, Endpoints: plain})
	r, err = DecodeBrokerRegistration(1, []byte(`{"version":2,"host":"h","port":1,"jmx_port":-1,"endpoints":["PLAINTEXT://h:9092","SSL://[::1]:9093"]}`))
	eq("registration 2", r, err, BrokerRegistration{ID: 1, JMXPort: -1, Endpoints: append(plain[:1:1], Endpoint{"SSL", "SSL", "::1", 9093})})
	r, err = DecodeBrokerRegistration(1, []byte(`{"version":4,"jmx_port":-1,"rack":null,"endpoints":["client://:0"],"listener_security_protocol_map":{"CLIENT":"sasl_ssl"},"later":[{}]}`))
	eq("registration 4", r, err, BrokerRegistration{ID: 1, JMXPort: -1, Endpoints: []Endpoint{{"CLIENT", "SASL_SSL", "", 0}}})
	r, err = DecodeBrokerRegistration(1, []byte(`{"version":6,"jmx_port":-1,"endpoints":["PLAINTEXT://h:9092"],"rack":"r","features":{"f":{"min_version":1,"max_version":3}},"timestamp":5}`))
	eq("registration 6", r, err, BrokerRegistration{ID: 1, JMXPort: -1, Endpoints: plain, Rack: "r", Features: map[string]FeatureRange{"f": {1, 3}}})

	c, err := DecodeController([]byte(`{"version":1,"brokerid":4,"timestamp":"7"}`))
	eq("controller 1", c, err, ControllerRegistration{4, 7, -1})
	c, err = DecodeController([]byte(`{"version":2,"brokerid":3000,"timestamp":"7","kraftControllerEpoch":5}`))
	eq("KRaft controller", c, err, ControllerRegistration{3000, 7, 5})
	if !c.ByKRaft() {
		t.Error("a KRaft controller was not seen as one")
	}

	a, err := DecodeTopicAssignment("t", []byte(`{"version":1,"partitions":{"1":[2],"0":[1,2]}} trailing`))
	eq("topic 1", a, err, TopicAssignment{Partitions: map[int32]ReplicaAssignment{0: {Replicas: []int32{1, 2}}, 1: {Replicas: []int32{2}}}})
	a, err = DecodeTopicAssignment("t", []byte(`{"version":2,"partitions":{"0":[3,1]},"adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]}}`))
	eq("topic 2", a, err, TopicAssignment{Partitions: map[int32]ReplicaAssignment{0: {[]int32{3, 1}, []int32{3}, []int32{1}}}})
	moving := a.Partitions[0]
	eq("target", moving.Target(), nil, []int32{3})
	eq("origin", moving.Origin(), nil, []int32{1})

	s, err := DecodePartitionState(protocol.TopicPartition{}, []byte(`{"leader":2,"leader_epoch":4,"isr":[2],"controller_epoch":9,"leader_recovery_state":1,"ISR":[7],"Leader":7}`))
	eq("state", s, err, PartitionState{Leader: 2, LeaderEpoch: 4, ISR: []int32{2}, ControllerEpoch: 9, Recovering: true})

	f, err := DecodeFeature([]byte(`{"version":1,"status":1,"features":{"f":{"min_version_level":1,"max_version_level":3}}}`))
	eq("feature 1", f, err, Feature{1, true, map[string]int16{"f": 3}})

	e, err := DecodeConfigChange([]byte(`{"version":1,"entity_type":"topics","entity_name":"t"}`))
	eq("config change 1", e, err, TopicConfig("t"))
	e, err = DecodeConfigChange([]byte(`{"version":2,"entity_path":"users/a%20b/clients/<default>"}`))
	eq("config change 2", e, err, UserConfig("a b").WithClient(DefaultEntityName))

	for _, data := range []string{"", "null", "[]", "x", "{}", `{"version":1}`, `{"config":null}`, `{"config":[]}`} {
		config, err := DecodeConfig(TopicConfig("t"), []byte(data))
		eq("config "+data, config, err, map[string]string{})
	}

	tp := protocol.TopicPartition{Topic: "t", Partition: 1}
	targets, err := DecodeReassignment([]byte(`{"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[2,1]}]}`))
	eq("reassignment", targets, err, map[protocol.TopicPartition][]int32{tp: {2, 1}})
	list, err := DecodePreferredElection([]byte(`{"version":1,"partitions":[{"topic":"t","partition":1,"more":1}],"more":2}`))
	eq("preferred election", list, err, []protocol.TopicPartition{tp})
	list, err = DecodeISRChange([]byte(`{"version":1,"partitions":[{"topic":"t","partition":1}]}`))
	eq("ISR change", list, err, []protocol.TopicPartition{tp})
}

// TestDecodeRefuses what Kafka's readers refuse, always with a *MalformedError.
func TestDecodeRefuses(t *testing.T) {
	decoders := map[string]func([]byte) error{
		"registration": func(b []byte) error { _, err := DecodeBrokerRegistration(1, b); return err },
		"controller":   func(b []byte) error { _, err := DecodeController(b); return err },
		"epoch":        func(b []byte) error { _, err := DecodeControllerEpoch(b); return err },
		"cluster id":   func(b []byte) error { _, err := DecodeClusterID(b); return err },
		"feature":      func(b []byte) error { _, err := DecodeFeature(b); return err },
		"block":        func(b []byte) error { _, err := DecodeProducerIDBlock(b); return err },
		"topic":        func(b []byte) error { _, err := DecodeTopicAssignment("t", b); return err },
		"state":        func(b []byte) error { _, err := DecodePartitionState(protocol.TopicPartition{}, b); return err },
		"change":       func(b []byte) error { _, err := DecodeConfigChange(b); return err },
		"isr":          func(b []byte) error { _, err := DecodeISRChange(b); return err },
		"log dir":      func(b []byte) error { _, err := DecodeLogDirEvent(b); return err },
		"reassignment": func(b []byte) error { _, err := DecodeReassignment(b); return err },
		"election":     func(b []byte) error { _, err := DecodePreferredElection(b); return err },
	}
	refuse := func(name, data string) {
		t.Helper()
		var malformed *MalformedError
		if err := decoders[name]([]byte(data)); !errors.As(err, &malformed) {
			t.Errorf("%s %q: %v", name, data, err)
		}
	}
	for name := range decoders {
		for _, data := range []string{"", "null", "[]", "{", "x", `"x"`, "{}", `{"version":null}`} {
			if name == "topic" && strings.HasSuffix(data, "}") {
				continue // a topic without partitions, to Kafka's reader
			}
			refuse(name, data)
		}
	}
	const registration = `{"version":5,"jmx_port":-1,"endpoints":["A://h:1"],"listener_security_protocol_map":{"A":"SSL"}}`
	if err := decoders["registration"]([]byte(registration)); err != nil {
		t.Fatal(err)
	}
	for old, bad := range map[string]string{
		`"version":5`:                   `"version":0`,
		`"jmx_port":-1`:                 `"jmx_port":null`,
		`"jmx_port":-1,`:                ``,
		`"A://h:1"`:                     `"A:/h:1"`,
		`h:1`:                           `h:`,
		`://h`:                          `://h h`,
		`"SSL"`:                         `"TLS"`,
		`{"A":"SSL"}`:                   `{"a":"SSL"}`,
		`"endpoints":["A://h:1"]`:       `"endpoints":[1]`,
		`"listener_security_protocol_m`: `"features":{"f":{"min_version":1}},"listener_security_protocol_m`,
	} {
		refuse("registration", strings.Replace(registration, old, bad, 1))
	}
	refuse("registration", `{"version":1,"jmx_port":-1,"host":null,"port":1}`)
	refuse("controller", `{"brokerid":"1"}`)
	refuse("controller", `{"brokerid":1.5}`)
	refuse("controller", `{"brokerid":3000000000}`)
	refuse("epoch", "1 ")
	refuse("cluster id", `{"version":"1","id":""}`)
	refuse("feature", `{"version":3,"status":1,"features":{}}`)
	refuse("feature", `{"version":2,"status":2,"features":{}}`)
	refuse("feature", `{"version":2,"status":1,"features":null}`)
	refuse("feature", `{"version":2,"status":1,"features":{"f":{}}}`)
	refuse("feature", `{"version":2,"status":1,"features":{"f":{"max_version_level":0}}}`)
	refuse("feature", `{"version":1,"status":1,"features":{"f":{"max_version_level":2}}}`)
	refuse("block", `{"version":1,"broker":1,"block_start":0,"block_end":999}`)
	refuse("block", `{"version":1,"broker":1,"block_start":"10","block_end":"9"}`)
	refuse("block", `{"version":1,"broker":1,"block_start":"0","block_end":"9223372036854775808"}`)
	refuse("topic", `{"partitions":{"x":[1]}}`)
	refuse("topic", `{"partitions":{"-1":[1]}}`)
	refuse("topic", `{"partitions":{"0":[1],"00":[1]}}`)
	refuse("topic", `{"partitions":{"0":[null]}}`)
	refuse("topic", `{"partitions":{"0":null}}`)
	refuse("topic", `{"topic_id":"short","partitions":{}}`)
	refuse("state", `{"leader":1,"leader_epoch":0,"isr":[1]}`)
	refuse("state", `{"leader":1,"leader_epoch":0,"isr":null,"controller_epoch":1}`)
	refuse("state", `{"leader":1,"leader_epoch":0,"isr":[1],"controller_epoch":1,"leader_recovery_state":2}`)
	refuse("change", `{"version":3,"entity_path":"topics/t"}`)
	refuse("change", `{"version":2,"entity_path":"topics"}`)
	refuse("change", `{"version":2,"entity_path":"groups/g"}`)
	refuse("change", `{"version":2,"entity_path":"topics/../x/y"}`)
	refuse("change", `{"version":1,"entity_type":"users","entity_name":"u"}`)
	refuse("reassignment", `{"version":1,"partitions":[],"extra":1}`)
	refuse("reassignment", `{"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[1],"log_dirs":["any"]}]}`)
	refuse("reassignment", `{"version":1,"partitions":[{"topic":"t","partition":1}]}`)
	refuse("election", `{"version":1,"partitions":[{"topic":"t"}]}`)
	var malformed *MalformedError
	if _, err := DecodeConfig(TopicConfig("t"), []byte(`{"config":{"a":1}}`)); !errors.As(err, &malformed) {
		t.Errorf("a number as a value: %v", err)
	}
}

func TestNextProducerIDBlock(t *testing.T) {
	first, err := (*ProducerIDBlock)(nil).next(4)
	if err != nil || first != (ProducerIDBlock{4, 0, 999}) {
		t.Errorf("first block %v, %v", first, err)
	}
	second, err := first.next(5)
	if err != nil || second != (ProducerIDBlock{5, 1000, 1999}) {
		t.Errorf("second block %v, %v", second, err)
	}
	last := ProducerIDBlock{1, math.MaxInt64 - 1999, math.MaxInt64 - 1000}
	if b, err := last.next(1); err != nil || b.Last != math.MaxInt64 {
		t.Errorf("last block %v, %v", b, err)
	}
	last.Last++
	if b, err := last.next(1); !errors.Is(err, ErrProducerIDsExhausted) {
		t.Errorf("after the last block %v, %v", b, err)
	}
}

func TestSequenceNumber(t *testing.T) {
	for name, want := range map[string]int32{
		"config_change_0000000000": 0, "config_change_0000000042": 42,
		"config_change_2147483647": math.MaxInt32, "config_change_-2147483648": math.MinInt32,
	} {
		if n, err := sequenceNumber(name, configChangePrefix); err != nil || n != want {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	for _, name := range []string{"config_change_", "config_change_x", "isr_change_0000000000", "config_change_99999999999"} {
		if n, err := sequenceNumber(name, configChangePrefix); err == nil {
			t.Errorf("%s: %d", name, n)
		}
	}
}
