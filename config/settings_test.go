package config

import (
	"math"
	"reflect"
	"testing"
	"time"
)

func TestListeners(t *testing.T) {
	s, _, err := Load("", []string{
		"listeners=PLAINTEXT://:9092,Inside://[::1]:0,control://10.0.0.1:9092", // two on one port is refused below
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,Control:plaintext",
	})
	if err == nil {
		t.Fatal("one port for a host name and an address must be refused")
	}
	s, _, err = Load("", []string{
		"listeners=PLAINTEXT://:9092,Inside://[::1]:9095,control://127.0.0.1:9095,FREE://0.0.0.0:0",
		"advertised.listeners=inside://[fd00::1]:19095,PLAINTEXT://:0,CONTROL://127.0.0.1:9095,FREE://localhost:0",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,Control:plaintext,FREE:PLAINTEXT",
		"inter.broker.listener.name=inside", "control.plane.listener.name=control",
	})
	if err != nil {
		t.Fatal(err)
	}
	b := s.Broker()
	if want := []Listener{
		{"PLAINTEXT", "PLAINTEXT", "", 9092}, {"INSIDE", "PLAINTEXT", "::1", 9095}, {"CONTROL", "PLAINTEXT", "127.0.0.1", 9095}, {"FREE", "PLAINTEXT", "0.0.0.0", 0},
	}; !reflect.DeepEqual(b.Listeners, want) {
		t.Errorf("listeners %v", b.Listeners)
	}
	if b.InterBroker != "INSIDE" || b.ControlPlane != "CONTROL" {
		t.Errorf("between brokers %q, control plane %q", b.InterBroker, b.ControlPlane)
	}
	endpoints := b.Endpoints(map[string]int{"PLAINTEXT": 9092, "FREE": 40000}, "myhost")
	want := []struct {
		endpoint   Listener
		sentence   string
		surprising bool
	}{
		{Listener{"INSIDE", "PLAINTEXT", "fd00::1", 19095}, "clients of listener INSIDE are sent to [fd00::1]:19095", false},
		{Listener{"PLAINTEXT", "PLAINTEXT", "myhost", 9092}, "clients of listener PLAINTEXT are sent to myhost:9092", false},
		{Listener{"CONTROL", "PLAINTEXT", "127.0.0.1", 9095}, "clients of listener CONTROL are sent to 127.0.0.1:9095", false},
		{Listener{"FREE", "PLAINTEXT", "localhost", 40000}, "listener FREE is open to other machines, but clients that come by it are sent to localhost:40000, which is their own machine: set advertised.listeners", true},
	}
	for i, w := range want {
		if endpoints[i] != w.endpoint {
			t.Errorf("endpoint %v, want %v", endpoints[i], w.endpoint)
		}
		if sentence, surprising := b.DescribeListener(endpoints[i]); sentence != w.sentence || surprising != w.surprising {
			t.Errorf("%v: %q %v", endpoints[i], sentence, surprising)
		}
	}
	if sentence, surprising := b.DescribeListener(Listener{Name: "FREE", Host: "::", Port: 1}); sentence != "clients of listener FREE are sent to [::]:1, which is no address of a machine: set advertised.listeners" || !surprising {
		t.Errorf("an unspecified address: %q %v", sentence, surprising)
	}
	if sentence, surprising := b.DescribeListener(Listener{Name: "NONE", Host: "localhost"}); sentence != "" || surprising {
		t.Errorf("a listener that is not there: %q %v", sentence, surprising)
	}
	if got := b.Listeners[1].Address(); got != "[::1]:9095" {
		t.Errorf("address %s", got)
	}
	if got := b.Listeners[1].String(); got != "INSIDE://[::1]:9095" {
		t.Errorf("string %s", got)
	}
	if !b.Listeners[0].Everywhere() || !b.Listeners[3].Everywhere() || b.Listeners[1].Everywhere() {
		t.Error("Everywhere")
	}
}

func TestTopicsGetWhatTheBrokerHas(t *testing.T) {
	s, _, err := Load("", []string{"log.retention.hours=-5", "log.roll.hours=1", "log.roll.jitter.ms=7", "log.flush.interval.ms=9", "log.flush.scheduler.interval.ms=8",
		"log.message.timestamp.before.max.ms=100", "log.message.timestamp.difference.max.ms=200", "log.cleanup.policy=delete, compact", "log.message.timestamp.type=LogAppendTime",
		"record.validation=full", "log.message.downconversion.enable=false"})
	if err != nil {
		t.Fatal(err)
	}
	got := s.Topic(map[string]string{"segment.bytes": "100", "retention.bytes": "nonsense", "min.insync.replicas": " 2 ", "leader.replication.throttled.replicas": "0:1, 1:2"})
	want := DefaultTopic()
	want.RetentionMS, want.SegmentMS, want.SegmentJitterMS, want.FlushMS = -1, hourMS, 7, 9
	want.TimestampBeforeMaxMS, want.TimestampAfterMaxMS = 100, 200
	want.Compact, want.MessageTimestampType, want.FullValidation, want.DownConversion = true, LogAppendTime, true, false
	want.SegmentBytes, want.MinInsyncReplicas, want.LeaderThrottledReplicas = 100, 2, []string{"0:1", "1:2"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if b := s.Broker().Log; b.SegmentMS != hourMS || b.SegmentBytes != 1<<30 {
		t.Errorf("the broker's own %+v", b)
	}
}

func TestDefaultTopic(t *testing.T) {
	want := &Topic{
		SegmentBytes: 1 << 30, SegmentMS: 7 * 24 * hourMS, SegmentIndexBytes: 10 << 20, IndexIntervalBytes: 4096, FileDeleteDelayMS: minuteMS,
		RetentionMS: 7 * 24 * hourMS, RetentionBytes: -1, Delete: true, FlushMessages: math.MaxInt64, FlushMS: math.MaxInt64,
		MaxMessageBytes: 1<<20 + 12, CompressionType: "producer", CompressionGzipLevel: -1, CompressionLZ4Level: 9, CompressionZstdLevel: 3,
		TimestampBeforeMaxMS: math.MaxInt64, TimestampAfterMaxMS: math.MaxInt64, MinInsyncReplicas: 1, DeleteRetentionMS: 24 * hourMS,
		MaxCompactionLagMS: math.MaxInt64, MinCleanableDirtyRatio: 0.5, DownConversion: true,
	}
	if got := DefaultTopic(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDynamicLayers(t *testing.T) {
	s, _, err := Load("", []string{"log.retention.ms=1000", "max.connections=5"})
	if err != nil {
		t.Fatal(err)
	}
	before := s.Broker()
	refused := s.SetClusterDefaults(map[string]string{"log.retention.hours": "2", "max.connections": "6", "broker.id": "4", "listeners": "PLAINTEXT://:1", "log.segment.bytes": "x", "own.thing": "1"})
	if len(refused) != 4 || refused["log.retention.hours"] == nil || refused["broker.id"] == nil || refused["listeners"] == nil || refused["log.segment.bytes"] == nil {
		t.Errorf("refused %v", refused) // log.retention.hours is read-only in Kafka too
	}
	if got := s.Broker(); got.Network.MaxConnections != 6 || got.Log.RetentionMS != 1000 {
		t.Errorf("got %+v", got)
	}
	if before.Network.MaxConnections != 5 {
		t.Error("a snapshot changed")
	}
	s.SetBrokerID(9)
	must(t, s.SetBrokerOverrides(map[string]string{"max.connections": "7", "log.roll.ms": "5"}))
	if got := s.Broker(); got.Network.MaxConnections != 7 || got.Log.SegmentMS != 5 || got.ID != 9 || s.Topic(nil).SegmentMS != 5 {
		t.Errorf("got %+v", got)
	}
	if refused := s.SetBrokerOverrides(map[string]string{"log.roll.ms": "0"}); refused[""] == nil {
		t.Error("what does not fit together must be refused")
	}
	if got := s.Broker(); got.Network.MaxConnections != 7 {
		t.Error("what was refused replaced what was there")
	}
	must(t, s.SetBrokerOverrides(nil))
	must(t, s.SetClusterDefaults(nil))
	if got := s.Broker(); got.Network.MaxConnections != 5 || got.ID != 9 {
		t.Errorf("got %+v", got)
	}
}

func TestBrokerTimes(t *testing.T) {
	s, _, err := Load("", []string{"connections.max.idle.ms=-1", "log.flush.offset.checkpoint.interval.ms=10", "log.retention.check.interval.ms=9223372036854775807"})
	if err != nil {
		t.Fatal(err)
	}
	b := s.Broker()
	if b.Network.MaxIdle != -time.Millisecond || b.Storage.RecoveryCheckpointInterval != 10*time.Millisecond || b.Storage.RetentionCheck != math.MaxInt64 ||
		b.ZooKeeper.SessionTimeout != 18*time.Second || b.Producers.Expiration != 24*time.Hour {
		t.Errorf("got %+v", b)
	}
}

func TestLists(t *testing.T) {
	for _, c := range []struct{ current, items, appended, subtracted string }{
		{"delete", "compact", "delete,compact", "delete"},
		{"delete,compact", "compact", "delete,compact", "delete"},
		{"", "compact", "compact", ""},
		{"a,b,a", "a", "a,b,a", "b,a"},
		{"a", "b,b", "a,b,b", "a"},
	} {
		if got := AppendToList(c.current, c.items); got != c.appended {
			t.Errorf("%q + %q = %q, want %q", c.current, c.items, got, c.appended)
		}
		if got := SubtractFromList(c.current, c.items); got != c.subtracted {
			t.Errorf("%q - %q = %q, want %q", c.current, c.items, got, c.subtracted)
		}
	}
	if !IsTopicList("cleanup.policy") || IsTopicList("segment.bytes") || IsTopicList("nope") || TopicListDefault("cleanup.policy") != "delete" ||
		TopicListDefault("leader.replication.throttled.replicas") != "" || TopicListDefault("nope") != "" || !IsTopicConfig("segment.bytes") || IsTopicConfig("log.segment.bytes") {
		t.Error("what is a list")
	}
}

// Printed by Java 17's Double.toString.
func TestDoublesArePrintedAsByJava(t *testing.T) {
	for text, want := range map[string]string{
		"0.5": "0.5", ".25": "0.25", "1": "1.0", "1e7": "1.0E7", "9999999": "9999999.0", "12345678": "1.2345678E7", "0.001": "0.001", "0.0001": "1.0E-4",
		"1.7976931348623157E308": "1.7976931348623157E308", "-2d": "-2.0", "3F": "3.0", "0": "0.0", "NaN": "NaN", "Infinity": "Infinity",
	} {
		f, ok := parseDouble(text)
		if got := formatDouble(f); !ok || got != want {
			t.Errorf("%s: %s %v, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "inf", "nan", "0x1p3", "1_0", "1e", "."} {
		if _, ok := parseDouble(text); ok {
			t.Errorf("%q is no number to Java", text)
		}
	}
}

// Every row of the table says what the property is for, has a default that its
// own rules accept, and appears once.
func TestTheTableIsSound(t *testing.T) {
	for _, table := range []table{brokerTable, topicTable} {
		if len(table.byName) != len(table.rows) {
			t.Error("a property stands in the table twice")
		}
		for i := range table.rows {
			p := &table.rows[i]
			if p.doc == "" {
				t.Errorf("%s is not documented", p.name)
			}
			if p.broker != "" {
				if brokerTable.byName[p.broker] == nil {
					t.Errorf("%s is paired with %s, which is not there", p.name, p.broker)
				}
				continue
			}
			if p.value != null {
				if canonical, invalid := p.parse(p.value); invalid != nil || canonical != p.value {
					t.Errorf("%s: default %q is parsed as %q, %v", p.name, p.value, canonical, invalid)
				}
			}
		}
	}
}
