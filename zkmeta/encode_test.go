package zkmeta

import (
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

func mustTopicID(t testing.TB, text string) protocol.TopicID {
	t.Helper()
	id, err := protocol.ParseTopicID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestEncode fixes the bytes that go to ZooKeeper.
func TestEncode(t *testing.T) {
	tp := func(topic string, p int32) protocol.TopicPartition {
		return protocol.TopicPartition{Topic: topic, Partition: p}
	}
	id := mustTopicID(t, "fJTSPIGPShO6d4K0fMTCWw")
	must := func(data []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, c := range []struct{ name, got, want string }{
		{"registration", must(BrokerRegistration{
			ID: 1, JMXPort: -1, TimestampMS: 1795376660684, Rack: "r1",
			Endpoints: []Endpoint{{"PLAINTEXT", "PLAINTEXT", "127.0.0.1", 37651}},
		}.Encode()), `{"version":5,"host":"127.0.0.1","port":37651,"jmx_port":-1,"timestamp":"1795376660684","endpoints":["PLAINTEXT://127.0.0.1:37651"],"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"rack":"r1","features":{}}`},
		{"registration without a plain endpoint or rack", must(BrokerRegistration{
			ID: 2, JMXPort: 9999, TimestampMS: 1,
			Endpoints: []Endpoint{{"CLIENTS", "SASL_SSL", "::1", 9093}},
		}.Encode()), `{"version":5,"host":null,"port":-1,"jmx_port":9999,"timestamp":"1","endpoints":["CLIENTS://[::1]:9093"],"listener_security_protocol_map":{"CLIENTS":"SASL_SSL"},"features":{}}`},
		{"registration, first plain endpoint of three", must(BrokerRegistration{
			ID: 2, JMXPort: -1, TimestampMS: 1,
			Endpoints: []Endpoint{{"S", "SSL", "a", 1}, {"B", "PLAINTEXT", "b", 2}, {"A", "PLAINTEXT", "c", 3}},
		}.Encode()), `{"version":5,"host":"b","port":2,"jmx_port":-1,"timestamp":"1","endpoints":["S://a:1","B://b:2","A://c:3"],"listener_security_protocol_map":{"A":"PLAINTEXT","B":"PLAINTEXT","S":"SSL"},"features":{}}`},
		{"controller", must(ControllerRegistration{1, 1795376660811, -1}.Encode()),
			`{"version":2,"brokerid":1,"timestamp":"1795376660811","kraftControllerEpoch":-1}`},
		{"controller epoch", string(EncodeControllerEpoch(7)), `7`},
		{"cluster id", must(EncodeClusterID("ZyRDLM6DRJijiY1ypNLxYQ")), `{"version":"1","id":"ZyRDLM6DRJijiY1ypNLxYQ"}`},
		{"feature", must(Feature{Version: 2, Enabled: true}.Encode()), `{"version":2,"status":1,"features":{}}`},
		{"feature before 2.7", must(Feature{Version: 1}.Encode()), `{"version":1,"status":0,"features":{}}`},
		{"producer ids", must(ProducerIDBlock{1, 0, 999}.Encode()), `{"version":1,"broker":1,"block_start":"0","block_end":"999"}`},
		{"topic", must(NewTopicAssignment(id, [][]int32{{1}, {1, 2}}).Encode()),
			`{"version":3,"topic_id":"fJTSPIGPShO6d4K0fMTCWw","partitions":{"0":[1],"1":[1,2]},"adding_replicas":{},"removing_replicas":{}}`},
		{"topic in motion, without id", must(TopicAssignment{Partitions: map[int32]ReplicaAssignment{
			0: {Replicas: []int32{3, 1}, Adding: []int32{3}, Removing: []int32{1}}, 1: {Replicas: []int32{1}},
		}}.Encode()), `{"version":3,"partitions":{"0":[3,1],"1":[1]},"adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]}}`},
		{"state", must(PartitionState{Leader: 1, ISR: []int32{1, 2}, ControllerEpoch: 1}.Encode()),
			`{"version":1,"leader":1,"leader_epoch":0,"isr":[1,2],"controller_epoch":1}`},
		{"state without leader or ISR", must(PartitionState{Leader: NoLeader, LeaderEpoch: 4, ControllerEpoch: 9}.Encode()),
			`{"version":1,"leader":-1,"leader_epoch":4,"isr":[],"controller_epoch":9}`},
		{"state recovering", must(PartitionState{Leader: 2, LeaderEpoch: 4, ISR: []int32{2}, ControllerEpoch: 9, Recovering: true}.Encode()),
			`{"version":1,"leader":2,"leader_epoch":4,"isr":[2],"controller_epoch":9,"leader_recovery_state":1}`},
		{"config", must(EncodeConfig(map[string]string{"b": "<1&2>", "a": "x"})), `{"version":1,"config":{"a":"x","b":"<1&2>"}}`},
		{"empty config", must(EncodeConfig(nil)), `{"version":1,"config":{}}`},
		{"config change", must(EncodeConfigChange(DefaultConfig(UserEntities).WithClient("a b"))),
			`{"version":2,"entity_path":"users/<default>/clients/a%20b"}`},
		{"ISR change", must(EncodeISRChange([]protocol.TopicPartition{tp("t", 0), tp("t", 1)})),
			`{"version":1,"partitions":[{"topic":"t","partition":0},{"topic":"t","partition":1}]}`},
		{"log dir event", must(EncodeLogDirEvent(3)), `{"version":1,"broker":3,"event":1}`},
		{"reassignment", must(EncodeReassignment(map[protocol.TopicPartition][]int32{tp("u", 0): {2}, tp("t", 1): {1, 2}})),
			`{"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[1,2]},{"topic":"u","partition":0,"replicas":[2]}]}`},
		{"preferred election", must(EncodePreferredElection([]protocol.TopicPartition{tp("t", 0)})),
			`{"version":1,"partitions":[{"topic":"t","partition":0}]}`},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, c.got, c.want)
		}
	}
}

// TestEncodeRefuses what a Kafka broker could not read, or would misread.
func TestEncodeRefuses(t *testing.T) {
	one := []Endpoint{{"PLAINTEXT", "PLAINTEXT", "h", 1}}
	for name, encode := range map[string]func() ([]byte, error){
		"negative broker id":       BrokerRegistration{ID: -1, Endpoints: one}.Encode,
		"no endpoint":              BrokerRegistration{ID: 1}.Encode,
		"lower-case listener":      BrokerRegistration{ID: 1, Endpoints: []Endpoint{{"plain", "PLAINTEXT", "h", 1}}}.Encode,
		"unknown protocol":         BrokerRegistration{ID: 1, Endpoints: []Endpoint{{"A", "TLS", "h", 1}}}.Encode,
		"listener twice":           BrokerRegistration{ID: 1, Endpoints: []Endpoint{{"A", "SSL", "h", 1}, {"A", "SSL", "h", 2}}}.Encode,
		"no host":                  BrokerRegistration{ID: 1, Endpoints: []Endpoint{{"A", "SSL", "", 1}}}.Encode,
		"host with comma":          BrokerRegistration{ID: 1, Endpoints: []Endpoint{{"A", "SSL", "a,b", 1}}}.Encode,
		"bracketed host":           BrokerRegistration{ID: 1, Endpoints: []Endpoint{{"A", "SSL", "[::1]", 1}}}.Encode,
		"port out of range":        BrokerRegistration{ID: 1, Endpoints: []Endpoint{{"A", "SSL", "h", 65536}}}.Encode,
		"negative controller":      ControllerRegistration{BrokerID: -1}.Encode,
		"finalized feature":        Feature{Version: 2, Features: map[string]int16{"x": 1}}.Encode,
		"feature version":          Feature{Version: 3}.Encode,
		"block backwards":          ProducerIDBlock{1, 5, 4}.Encode,
		"topic without partitions": TopicAssignment{}.Encode,
		"partition without replicas": TopicAssignment{
			Partitions: map[int32]ReplicaAssignment{0: {}}}.Encode,
		"replica twice":         TopicAssignment{Partitions: map[int32]ReplicaAssignment{0: {Replicas: []int32{1, 1}}}}.Encode,
		"negative partition":    TopicAssignment{Partitions: map[int32]ReplicaAssignment{-1: {Replicas: []int32{1}}}}.Encode,
		"adding a stranger":     TopicAssignment{Partitions: map[int32]ReplicaAssignment{0: {Replicas: []int32{1}, Adding: []int32{2}}}}.Encode,
		"leader -2":             PartitionState{Leader: -2}.Encode,
		"negative ISR member":   PartitionState{ISR: []int32{-1}}.Encode,
		"negative epoch":        PartitionState{LeaderEpoch: -1}.Encode,
		"property without name": func() ([]byte, error) { return EncodeConfig(map[string]string{"": "x"}) },
		"change of nothing":     func() ([]byte, error) { return EncodeConfigChange(ConfigEntity{}) },
		"empty cluster id":      func() ([]byte, error) { return EncodeClusterID("") },
		"event of nobody":       func() ([]byte, error) { return EncodeLogDirEvent(-1) },
		"ISR change of nothing": func() ([]byte, error) {
			return EncodeISRChange([]protocol.TopicPartition{{Topic: "", Partition: 0}})
		},
	} {
		if data, err := encode(); err == nil {
			t.Errorf("%s: wrote %s", name, data)
		}
	}
}

func TestPaths(t *testing.T) {
	tp := protocol.TopicPartition{Topic: "a.b_c", Partition: 12}
	for got, want := range map[string]string{
		BrokerIDPath(3):        "/brokers/ids/3",
		TopicPath("orders"):    "/brokers/topics/orders",
		PartitionPath(tp):      "/brokers/topics/a.b_c/partitions/12",
		PartitionStatePath(tp): "/brokers/topics/a.b_c/partitions/12/state",
		DeleteTopicPath("t"):   "/admin/delete_topics/t",

		TopicConfig("t").Path():                                     "/config/topics/t",
		BrokerConfig(1).Path():                                      "/config/brokers/1",
		DefaultConfig(BrokerEntities).Path():                        "/config/brokers/<default>",
		ClientConfig("a/b").Path():                                  "/config/clients/a%2Fb",
		UserConfig("alice").WithClient("app").Path():                "/config/users/alice/clients/app",
		UserConfig("CN=x, O=y").Path():                              "/config/users/CN%3Dx%2C%20O%3Dy",
		UserConfig("u").WithClient(DefaultEntityName).Path():        "/config/users/u/clients/<default>",
		IPConfig("::1").Path():                                      "/config/ips/%3A%3A1",
		DefaultConfig(UserEntities).WithClient("c").Path():          "/config/users/<default>/clients/c",
		EntityTypePath(TopicEntities) + " " + string(TopicEntities): "/config/topics topics",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestEntityName holds what Java's URLEncoder makes of every ASCII character, with
// Kafka's two changes.
func TestEntityName(t *testing.T) {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	if got := EncodeEntityName(plain); got != plain {
		t.Errorf("%q became %q", plain, got)
	}
	for c := byte(0); c < 128; c++ {
		got := EncodeEntityName(string(rune(c)))
		if escaped := len(got) == 3 && got[0] == '%'; escaped == strings.ContainsRune(plain, rune(c)) {
			t.Errorf("%q became %q", c, got)
		}
	}
	for name, want := range map[string]string{
		" ": "%20", "*": "%2A", "+": "%2B", "~": "%7E", "é": "%C3%A9", "中": "%E4%B8%AD", "%": "%25", "<default>": "%3Cdefault%3E",
	} {
		if got := EncodeEntityName(name); got != want {
			t.Errorf("%q became %q, want %q", name, got, want)
		}
		if back, err := DecodeEntityName(want); err != nil || back != name {
			t.Errorf("%q decoded to %q, %v", want, back, err)
		}
	}
	if name, err := DecodeEntityName("a+b"); err != nil || name != "a b" {
		t.Errorf("a+b decoded to %q, %v", name, err)
	}
	if name, err := DecodeEntityName(DefaultEntityName); err != nil || name != DefaultEntityName {
		t.Errorf("<default> decoded to %q, %v", name, err)
	}
	if _, err := DecodeEntityName("%4"); err == nil {
		t.Error("a broken escape was decoded")
	}
}
