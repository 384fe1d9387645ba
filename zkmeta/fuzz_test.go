package zkmeta

import (
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Each fuzz target asks three things of a decoder: it never panics; what it accepts
// and the encoder then writes decodes to the same value; and that encoding is a
// fixed point.

// seed adds what a real broker wrote under a path that match accepts.
func seed(f *testing.F, match func(path string) bool, more ...string) {
	found := false
	for _, n := range append(kafkaTree(f), passingNodes(f)...) {
		if n.data != nil && match(n.path) {
			f.Add(n.data)
			found = true
		}
	}
	if !found {
		f.Fatal("no broker has written such a node")
	}
	for _, s := range more {
		f.Add([]byte(s))
	}
}

func under(prefix string) func(string) bool {
	return func(path string) bool { return strings.HasPrefix(path, prefix) }
}

func roundTrip[T any](t *testing.T, v T, encode func(T) ([]byte, error), decode func([]byte) (T, error)) {
	t.Helper()
	data, err := encode(v)
	if err != nil {
		return // readable, but nothing that we would write
	}
	again, err := decode(data)
	if err != nil {
		t.Fatalf("own encoding %s does not decode: %v", data, err)
	}
	twice, err := encode(again)
	if err != nil || string(twice) != string(data) {
		t.Fatalf("encoded again: %s, %v; first %s", twice, err, data)
	}
}

func FuzzBrokerRegistration(f *testing.F) {
	seed(f, under(BrokerIDsPath+"/"), `{"version":1,"host":"h","port":1,"jmx_port":-1}`,
		`{"version":4,"jmx_port":-1,"endpoints":["A://[::1]:1","B://h:2"],"listener_security_protocol_map":{"A":"SSL","B":"SASL_PLAINTEXT"}}`)
	decode := func(b []byte) (BrokerRegistration, error) { return DecodeBrokerRegistration(1, b) }
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := decode(data); err == nil {
			roundTrip(t, r, BrokerRegistration.Encode, decode)
		}
	})
}

func FuzzController(f *testing.F) {
	seed(f, func(p string) bool { return p == ControllerPath }, `{"version":1,"brokerid":4,"timestamp":"7"}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := DecodeController(data); err == nil {
			roundTrip(t, c, ControllerRegistration.Encode, DecodeController)
		}
	})
}

func FuzzControllerEpoch(f *testing.F) {
	seed(f, func(p string) bool { return p == ControllerEpochPath }, "2147483647", "-1", "+1")
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := DecodeControllerEpoch(data); err == nil {
			roundTrip(t, e, func(e int32) ([]byte, error) { return EncodeControllerEpoch(e), nil }, DecodeControllerEpoch)
		}
	})
}

func FuzzClusterID(f *testing.F) {
	seed(f, under(ClusterIDPath))
	f.Fuzz(func(t *testing.T, data []byte) {
		if id, err := DecodeClusterID(data); err == nil {
			roundTrip(t, id, EncodeClusterID, DecodeClusterID)
		}
	})
}

func FuzzFeature(f *testing.F) {
	seed(f, under(FeaturePath), `{"version":1,"status":1,"features":{"f":{"min_version_level":1,"max_version_level":3}}}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := DecodeFeature(data); err == nil {
			roundTrip(t, v, Feature.Encode, DecodeFeature)
		}
	})
}

func FuzzProducerIDBlock(f *testing.F) {
	seed(f, under(ProducerIDBlockPath))
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := DecodeProducerIDBlock(data); err == nil {
			roundTrip(t, b, ProducerIDBlock.Encode, DecodeProducerIDBlock)
		}
	})
}

func FuzzTopicAssignment(f *testing.F) {
	seed(f, func(p string) bool { return strings.HasPrefix(p, TopicsPath+"/") && !strings.Contains(p, "partitions") },
		`{"version":1,"partitions":{"0":[1]}}`,
		`{"version":2,"partitions":{"0":[3,1]},"adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]}}`)
	decode := func(b []byte) (TopicAssignment, error) { return DecodeTopicAssignment("t", b) }
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := decode(data); err == nil {
			roundTrip(t, a, TopicAssignment.Encode, decode)
			for _, r := range a.Partitions {
				r.Target()
				r.Origin()
			}
		}
	})
}

func FuzzPartitionState(f *testing.F) {
	seed(f, func(p string) bool { return strings.HasSuffix(p, "/state") },
		`{"version":1,"leader":2,"leader_epoch":4,"isr":[2],"controller_epoch":9,"leader_recovery_state":1}`)
	decode := func(b []byte) (PartitionState, error) { return DecodePartitionState(protocol.TopicPartition{}, b) }
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := decode(data); err == nil {
			roundTrip(t, s, PartitionState.Encode, decode)
		}
	})
}

func FuzzConfig(f *testing.F) {
	seed(f, func(p string) bool {
		return strings.HasPrefix(p, "/config/") && !strings.HasPrefix(p, ConfigChangesPath)
	})
	decode := func(b []byte) (map[string]string, error) { return DecodeConfig(TopicConfig("t"), b) }
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := decode(data); err == nil {
			roundTrip(t, c, EncodeConfig, decode)
		}
	})
}

func FuzzConfigChange(f *testing.F) {
	seed(f, under(ConfigChangesPath), `{"version":1,"entity_type":"clients","entity_name":"c"}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := DecodeConfigChange(data); err == nil {
			roundTrip(t, e, EncodeConfigChange, DecodeConfigChange)
			if e.Kind() != UserEntities && strings.Contains(e.Name(), "/") {
				t.Fatalf("%q would reach below the entity", e)
			}
		}
	})
}

func FuzzPartitionLists(f *testing.F) {
	seed(f, func(p string) bool { return p == PreferredElectionPath || under(ISRChangesPath+"/")(p) },
		`{"version":1,"partitions":[{"topic":"t","partition":1}]}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := DecodeISRChange(data)
		list2, err2 := DecodePreferredElection(data)
		if (err == nil) != (err2 == nil) || !reflect.DeepEqual(list, list2) {
			t.Fatalf("%v, %v differ from %v, %v", list, err, list2, err2)
		}
		if err == nil {
			roundTrip(t, list, EncodeISRChange, DecodeISRChange)
		}
	})
}

func FuzzReassignment(f *testing.F) {
	seed(f, under(ReassignPartitionsPath), `{"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[2,1]}]}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := DecodeReassignment(data); err == nil {
			roundTrip(t, r, EncodeReassignment, DecodeReassignment)
		}
	})
}

func FuzzLogDirEvent(f *testing.F) {
	seed(f, under(LogDirEventsPath+"/"), `{"version":1,"broker":3,"event":1}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		if id, err := DecodeLogDirEvent(data); err == nil {
			roundTrip(t, id, EncodeLogDirEvent, DecodeLogDirEvent)
		}
	})
}

func FuzzEntityName(f *testing.F) {
	for _, n := range kafkaTree(f) {
		if name, err := DecodeEntityName(path.Base(n.path)); err == nil && under("/config/")(n.path) {
			f.Add(name)
		}
	}
	f.Add("a~b *+é")
	f.Fuzz(func(t *testing.T, name string) {
		node := EncodeEntityName(name)
		if strings.ContainsAny(node, "/~*+ ") {
			t.Fatalf("%q became %q", name, node)
		}
		if back, err := DecodeEntityName(node); err != nil || back != name {
			t.Fatalf("%q became %q, and that %q, %v", name, node, back, err)
		}
	})
}
