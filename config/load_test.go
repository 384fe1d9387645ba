package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What Java's Properties.load makes of testdata/tricky.properties.
var tricky = map[string]string{
	"colon": "value", "continued": "a,b,c", "empty": "", "equals": "=x", "escapes": "tab\there\\back=eq:colon",
	"expansion": "${twice} and ${HOME}", "hash": "a#b", "indented": "value with spaces   ", "key with spaces": "1", "last": "no newline",
	"latin": "é", "noseparator": "", "space": "value here", "trailing": "x", "twice": "2", "unicode": "é中", "windows": `C:\temp`,
}

func TestPropertiesFilesAreReadAsJavaReadsThem(t *testing.T) {
	got, err := readProperties("testdata/tricky.properties")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, tricky) {
		t.Errorf("got %q\nwant %q", got, tricky)
	}
}

func TestWithoutAFile(t *testing.T) {
	s, report, err := Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := s.Broker()
	if got := b.Listeners; len(got) != 1 || got[0] != (Listener{Name: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}) {
		t.Errorf("listeners %v", got)
	}
	if !b.ZooKeeper.Embedded || !reflect.DeepEqual(b.Storage.Dirs, []string{"gracchus-data"}) || b.ID != 0 || b.InterBroker != "PLAINTEXT" {
		t.Errorf("got %+v", b)
	}
	forOne := []string{"offsets.topic.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.replication.factor=1"}
	if !reflect.DeepEqual(report, Report{Assumed: forOne}) {
		t.Errorf("nothing was given, and yet: %+v", report)
	}
	if s, _, err = Load("", []string{"broker.rack=r"}); err != nil || !reflect.DeepEqual(s.Broker().Storage.Dirs, b.Storage.Dirs) {
		t.Errorf("another override changes the directory: %v", err)
	}
	s, _, err = Load("", []string{"log.dir=/elsewhere", "listeners=PLAINTEXT://:0"})
	if err != nil {
		t.Fatal(err)
	}
	if dirs := s.Broker().Storage.Dirs; !reflect.DeepEqual(dirs, []string{"/elsewhere"}) {
		t.Errorf("an override of log.dir gives %v", dirs)
	}
}

// With the embedded ZooKeeper the coordinators' topics have one replica unless somebody
// has said otherwise, and with another one Kafka's three.
func TestFactorsOfCoordinatorsTopics(t *testing.T) {
	for _, c := range []struct {
		given                 map[string]string
		offsets, transactions int16
		minISR                int32
		assumed               int
	}{
		{map[string]string{"zookeeper.connect": "embedded"}, 1, 1, 1, 3},
		{map[string]string{"zookeeper.connect": " embedded "}, 1, 1, 1, 3},
		{map[string]string{"zookeeper.connect": "embedded", "offsets.topic.replication.factor": "3", "transaction.state.log.min.isr": "2"}, 3, 1, 2, 1},
		{map[string]string{"zookeeper.connect": "zk:2181"}, 3, 3, 2, 0},
		{map[string]string{"zookeeper.connect": "zk:2181", "offsets.topic.replication.factor": "1"}, 1, 3, 2, 0},
	} {
		s, report, err := Parse(c.given)
		if err != nil {
			t.Fatal(err)
		}
		b := s.Broker()
		if b.Offsets.ReplicationFactor != c.offsets || b.Transactions.ReplicationFactor != c.transactions || b.Transactions.MinISR != c.minISR || len(report.Assumed) != c.assumed {
			t.Errorf("%v: %+v, %+v, assumed %q", c.given, b.Offsets, b.Transactions, report.Assumed)
		}
	}
	s, report, err := Load("", []string{"zookeeper.connect=zk:2181"})
	if err != nil || s.Broker().Offsets.ReplicationFactor != 3 || report.Assumed != nil {
		t.Errorf("without a file, and with a ZooKeeper elsewhere: %+v, %q, %v", s.Broker().Offsets, report.Assumed, err)
	}
}

func TestAFileNeverFoundsAClusterSilently(t *testing.T) {
	for _, content := range []string{"broker.id=1\n", "zookeeper.connect=\n", "zookeeper.connect= \n"} {
		if _, _, err := Load(write(t, content), nil); err == nil || !strings.Contains(err.Error(), "zookeeper.connect is missing") {
			t.Errorf("%q: %v", content, err)
		}
	}
	s, _, err := Load(write(t, "zookeeper.connect=embedded\n"), nil)
	if err != nil || !s.Broker().ZooKeeper.Embedded {
		t.Errorf("embedded: %v", err)
	}
	s, _, err = Load(write(t, "broker.id=1\n"), []string{"zookeeper.connect=h:1"})
	if err != nil || s.Broker().ZooKeeper.Embedded {
		t.Errorf("override: %v", err)
	}
}

func TestReport(t *testing.T) {
	_, report, err := Load("", []string{"num.io.threads=4", "no.such.thing=1", "log.cleanup.policy=compact", "log.cleaner.enable=false", "sasl.enabled.mechanisms=GSSAPI", "ssl.keystore.location=",
		"zookeeper.set.acl=FALSE", "authorizer.class.name=", "gracchus.zookeeper.listen=127.0.0.1:0", "listener.name.plaintext.max.connections=7"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"no.such.thing"}; !reflect.DeepEqual(report.Unknown, want) {
		t.Errorf("unknown %v, want %v", report.Unknown, want)
	}
	if want := []string{"listener.name.plaintext.max.connections", "num.io.threads"}; !reflect.DeepEqual(report.Ignored, want) {
		t.Errorf("ignored %v, want %v", report.Ignored, want)
	}
	if len(report.Warnings) != 1 {
		t.Errorf("warnings %q", report.Warnings)
	}
	_, report, err = Load("", []string{"zookeeper.connect=h:1", "gracchus.zookeeper.listen=127.0.0.1:0"})
	if err != nil || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "gracchus.zookeeper.listen") {
		t.Errorf("warnings %q, %v", report.Warnings, err)
	}
}

// Each error is one line with the property, the value given, and what is
// accepted.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ given, contains string }{
		{"log.segment.bytes=13", `log.segment.bytes: "13" is not accepted here; it takes a whole number from 14 to 2147483647`},
		{"log.segment.bytes=2 GB", `"2 GB"`},
		{"log.retention.hours=3000000000", "a whole number up to 2147483647"},
		{"auto.create.topics.enable=yes", "true or false"},
		{"compression.type=brotli", "one of uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"log.cleanup.policy=compact,keep", "a comma-separated list of compact, delete"},
		{"log.cleaner.min.cleanable.ratio=1.1", "a number from 0 to 1"},
		{"compression.gzip.level=0", "from 1 to 9, or -1"},
		{"log.message.format.version=5", "a release of Kafka"},
		{"record.validation=none", "one of header, full"},
		{"broker.id=-2", "broker.id"},
		{"broker.id=1001", "reserved.broker.max.id"},
		{"node.id=7", "the same number as broker.id"},
		{"log.roll.ms=0", "a whole number from 1"},
		{"log.retention.ms=0", "-1 for no limit"},
		{"log.dirs=,", "at least one directory"},
		{"log.cleaner.max.compaction.lag.ms=5&log.cleaner.min.compaction.lag.ms=6", "at most log.cleaner.max.compaction.lag.ms, which is 5"},
		{"log.cleaner.threads=0", "a whole number from 1"},
		{"log.cleaner.threads=3&log.cleaner.dedupe.buffer.size=3145730", "more than 1048576 for each of log.cleaner.threads, which is 3"},
		{"replica.fetch.wait.max.ms=60000", "replica.socket.timeout.ms"},
		{"queued.max.request.bytes=1", "socket.request.max.bytes"},
		{"max.connections.per.ip=0", "max.connections.per.ip.overrides"},
		{"max.connections.per.ip.overrides=localhost", "host:count"},
		{"max.connections.per.ip.overrides=localhost:many", "host:count"},
		{"max.connections.per.ip.overrides=localhost:-1", "host:count"},
		{"replica.lag.time.max.ms=499", "replica.lag.time.max.ms"},
		{"zookeeper.connect=a:b", "host:port"},
		{"zookeeper.connect=/x", "host:port"},
		{"zookeeper.connect=h:1/a,g:1", "one path, after the last server"},

		{"authorizer.class.name=kafka.security.authorizer.AclAuthorizer", "not supported yet"},
		{"ssl.keystore.location=/k", "not supported yet"},
		{"listener.name.plaintext.ssl.keystore.location=/k", "not supported yet"},
		{"listener.name.plaintext.plain.sasl.jaas.config=x", "not supported yet"},
		{"sasl.enabled.mechanisms=PLAIN", "only GSSAPI is"},
		{"ssl.some.new.thing=1", "not supported yet"},
		{"sasl.some.new.thing=1", "not supported yet"},
		{"zookeeper.ssl.some.new.thing=1", "not supported yet"},
		{"listener.name.plaintext.oauthbearer.sasl.login.class=x", "not supported yet"},
		{"zookeeper.set.acl=true", "only false is"},
		{"zookeeper.ssl.client.enable=true", "only false is"},
		{"zookeeper.clientCnxnSocket=x", "not supported yet"},
		{"create.topic.policy.class.name=x", "not supported yet"},
		{"some.policy.class.name=x", "not supported yet"},
		{"process.roles=broker", "not supported yet"},
		{"zookeeper.metadata.migration.enable=true", "only false is"},
		{"controller.listener.names=CONTROLLER", "not supported yet"},
		{"inter.broker.protocol.version=3.8", "only 3.9 is"},
		{"inter.broker.protocol.version=9", "a release of Kafka"},
		{"inter.broker.protocol.version=3.9-IV1", "a release of Kafka"},
		{"remote.log.storage.system.enable=true", "only false is"},

		{"listeners=", "at least one name://host:port"},
		{"listeners=127.0.0.1:9092", "name://host:port"},
		{"listeners=PLAINTEXT://h:65536", "ports from 0 to 65535"},
		{"listeners=PLAINTEXT://h:-1", "ports from 0 to 65535"},
		{"listeners=OTHER://h:1", "listener.security.protocol.map"},
		{"listeners=SSL://h:1", "SSL is not supported yet"},
		{"listeners=PLAINTEXT://h:1,plaintext://h:2", "PLAINTEXT is there twice"},
		{"listeners=PLAINTEXT://h:1,B://h:1&listener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT", "a port of its own"},
		{"listeners=PLAINTEXT://1.1.1.1:1,B://2.2.2.2:1&listener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT", "a port of its own"},
		{"listeners=PLAINTEXT://0.0.0.0:1", "0.0.0.0 cannot be advertised"},
		{"listeners=A://h:1&listener.security.protocol.map=A:PLAINTEXT", "set inter.broker.listener.name to one of them"},
		{"listener.security.protocol.map=PLAINTEXT", "NAME:PROTOCOL"},
		{"listeners=PLAINTEXT://h:1,B://h:2,C://h:2&listener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT,C:PLAINTEXT", "a port of its own"},
		{"listener.security.protocol.map=PLAINTEXT:TLS", "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"},
		{"advertised.listeners=SSL://h:1", "SSL is not supported yet"},
		{"advertised.listeners=B://h:1&listener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT", "only listener names that listeners has: PLAINTEXT"},
		{"inter.broker.listener.name=NOPE", "a name that listener.security.protocol.map has"},
		{"inter.broker.listener.name=PLAINTEXT&security.inter.broker.protocol=PLAINTEXT", "nothing when inter.broker.listener.name is set too"},
		{"security.inter.broker.protocol=SSL", "also the name of an advertised listener"},
		{"control.plane.listener.name=PLAINTEXT", "another listener than the one between brokers"},
		{"control.plane.listener.name=B", "one of the advertised listeners: PLAINTEXT"},
	} {
		_, _, err := Load("", strings.Split(c.given, "&"))
		if err == nil || !strings.Contains(err.Error(), c.contains) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\n got %v\nwant …%s…", c.given, err, c.contains)
			continue
		}
		if !namesProperty.MatchString(err.Error()) {
			t.Errorf("%s: %v does not begin with a property and its value", c.given, err)
		}
	}
}

// Errors end up in logs; secrets must not.
func TestErrorsKeepSecrets(t *testing.T) {
	for _, name := range []string{"ssl.keystore.password", "ssl.key.password", "sasl.jaas.config", "listener.name.plaintext.plain.sasl.jaas.config",
		"listener.name.inside.ssl.truststore.password", "zookeeper.ssl.keystore.password", "ssl.some.new.secret"} {
		if _, _, err := Load("", []string{name + "=verysecret"}); err == nil || strings.Contains(err.Error(), "verysecret") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var namesProperty = regexp.MustCompile(`^[a-zA-Z][a-zA-Z.0-9]+: "`)

// What lies just inside the rules.
func TestAccepted(t *testing.T) {
	for _, given := range []string{
		"broker.id=1000", "broker.id=-1&node.id=-1", "broker.id=7&node.id=7", "broker.id=5000&broker.id.generation.enable=false", "broker.id=1001&reserved.broker.max.id=1001",
		"log.cleaner.max.compaction.lag.ms=5&log.cleaner.min.compaction.lag.ms=5", "log.cleaner.min.cleanable.ratio=1", "log.cleaner.min.cleanable.ratio=0",
		"queued.max.request.bytes=104857600", "queued.max.request.bytes=0", "queued.max.request.bytes=-1",
		"max.connections.per.ip=0&max.connections.per.ip.overrides=127.0.0.1:0", "max.connections.per.ip.overrides=fd00::1:5, host : 6",
		"replica.fetch.wait.max.ms=30000", "log.retention.ms=-1", "log.roll.ms=1", "log.segment.bytes=14",
		"inter.broker.protocol.version=3.9", "inter.broker.protocol.version=3.9.2", "inter.broker.protocol.version=3.9-IV0", "log.message.format.version=0.10.2",
		"log.message.format.version=0.8.2.1", "zookeeper.clientCnxnSocket=", "listener.name.plaintext.some.thing=1", "control.plane.listener.name=C&listeners=PLAINTEXT://h:1,C://h:2&listener.security.protocol.map=PLAINTEXT:PLAINTEXT,C:PLAINTEXT",
	} {
		overrides := strings.Split(given, "&")
		if !strings.Contains(given, "node.id") {
			overrides = append(overrides, "broker.rack=r")
		}
		if _, _, err := Load("", overrides); err != nil {
			t.Errorf("%s: %v", given, err)
		}
	}
}

func TestOverridesMustHaveANameAndAValue(t *testing.T) {
	for _, override := range []string{"broker.id", "=1", ""} {
		if _, _, err := Load("", []string{override}); err == nil || !strings.Contains(err.Error(), "name=value") {
			t.Errorf("%q: %v", override, err)
		}
	}
	s, _, err := Load("", []string{"broker.rack=a=b"})
	if err != nil || s.Broker().Rack != "a=b" {
		t.Errorf("a value with '=': %v %q", err, s.Broker().Rack)
	}
}

func TestMissingFile(t *testing.T) {
	if _, _, err := Load("/no/such/server.properties", nil); err == nil || !strings.Contains(err.Error(), "/no/such/server.properties: no such file") {
		t.Error(err)
	}
}

func TestZooKeeperConnect(t *testing.T) {
	for connect, want := range map[string]ZooKeeper{
		"h:1":                 {Servers: []string{"h:1"}},
		"h":                   {Servers: []string{"h:2181"}},
		" a:1 , b:2/kafka/x/": {Servers: []string{"a:1", "b:2"}, Chroot: "/kafka/x"},
		"[::1]:2181/":         {Servers: []string{"[::1]:2181"}},
		"[::1]":               {Servers: []string{"[::1]:2181"}},
	} {
		s, _, err := Parse(map[string]string{"zookeeper.connect": connect, "zookeeper.session.timeout.ms": "6000"})
		if err != nil {
			t.Errorf("%q: %v", connect, err)
			continue
		}
		want.SessionTimeout, want.ConnectTimeout, want.MaxInFlight = 6*time.Second, 6*time.Second, 10
		if got := s.Broker().ZooKeeper; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", connect, got, want)
		}
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
