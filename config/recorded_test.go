package config

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The files in testdata were recorded from Kafka 3.9.2 with RecordConfigs.java:
// a broker with next to no settings, and one with settings in every layer.

type recordedSynonym struct {
	Name, Source string
	Value        *string
}

type recordedEntry struct {
	Resource, Name, Source, Type string
	Value                        *string
	Sensitive, ReadOnly          bool
	Synonyms                     []recordedSynonym
}

func TestEntriesAreThoseOfKafka(t *testing.T) {
	layered := load(t, "testdata/describe-layers.properties")
	must(t, layered.SetClusterDefaults(map[string]string{
		"log.retention.ms": "7200000", "log.cleaner.threads": "2", "message.max.bytes": "3000000", "log.cleaner.backoff.ms": "16000",
	}))
	must(t, layered.SetBrokerOverrides(map[string]string{
		"log.roll.ms": "600000", "log.segment.bytes": "1500000", "num.io.threads": "4", "leader.replication.throttled.rate": "1000", "log.cleaner.backoff.ms": "17000",
	}))
	own := map[string]string{
		"segment.bytes": "1000000", "retention.ms": "1000", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.250",
		"leader.replication.throttled.replicas": "0:1", "flush.ms": "100",
	}
	for _, c := range []struct {
		file, resource string
		entries        []Entry
	}{
		{"testdata/describe-default.jsonl", "BROKER:1", load(t, "testdata/describe-default.properties").DescribeBroker()},
		{"testdata/describe-default.jsonl", "TOPIC:plain", load(t, "testdata/describe-default.properties").DescribeTopic(nil)},
		{"testdata/describe-layers.jsonl", "BROKER:2", layered.DescribeBroker()},
		{"testdata/describe-layers.jsonl", "BROKER:", layered.DescribeClusterDefaults()},
		{"testdata/describe-layers.jsonl", "TOPIC:plain", layered.DescribeTopic(nil)},
		{"testdata/describe-layers.jsonl", "TOPIC:own", layered.DescribeTopic(own)},
	} {
		t.Run(c.file+" "+c.resource, func(t *testing.T) {
			ours := map[string]recordedEntry{}
			for _, e := range c.entries {
				if p := brokerTable.byName[e.Name]; p != nil && p.own {
					continue
				}
				ours[e.Name] = recorded(c.resource, e)
				if e.IsDefault != (e.Source == kmsg.ConfigSourceDefaultConfig) {
					t.Errorf("%s from %v, but is it the default: %v", e.Name, e.Source, e.IsDefault)
				}
			}
			kafkas := 0
			for _, want := range readRecorded[recordedEntry](t, c.file) {
				if want.Resource != c.resource {
					continue
				}
				kafkas++
				got, ok := ours[want.Name]
				if !ok {
					t.Errorf("%s is missing", want.Name)
				} else if !reflect.DeepEqual(got, want) {
					t.Errorf("%s\n got %s\nwant %s", want.Name, show(got), show(want))
				}
				delete(ours, want.Name)
			}
			if kafkas == 0 {
				t.Fatal("nothing recorded")
			}
			for name := range ours {
				t.Errorf("%s is not Kafka's", name)
			}
		})
	}
}

func TestTopicValuesAreJudgedAsByKafka(t *testing.T) {
	s := load(t, "testdata/describe-default.properties")
	for _, want := range readRecorded[struct{ Set, Error, Message *string }](t, "testdata/validate-topic.jsonl") {
		own := map[string]string{}
		for _, one := range strings.Split(*want.Set, "&") {
			name, value, _ := strings.Cut(one, "=")
			own[name] = value
		}
		err := s.ValidateTopicAll(own)
		if (err == nil) != (want.Error == nil) {
			t.Errorf("%q: got %v, Kafka says %s", *want.Set, err, show(want))
			continue
		}
		if err == nil {
			continue
		}
		var invalid *InvalidTopicConfig
		if !errors.As(err, &invalid) || !errors.Is(err, kerr.InvalidConfig) {
			t.Fatalf("%q: %T %v is no InvalidTopicConfig", *want.Set, err, err)
		}
		if got := invalid.AlterMessage("plain"); got != *want.Message {
			t.Errorf("%q:\n got %s\nwant %s", *want.Set, got, *want.Message)
		}
	}
}

func recorded(resource string, e Entry) recordedEntry {
	types := []string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"}
	r := recordedEntry{Resource: resource, Name: e.Name, Source: sourceName(e.Source), Type: types[e.Type], Sensitive: e.Sensitive, ReadOnly: e.ReadOnly,
		Value: nullable(e.Value, e.Null), Synonyms: []recordedSynonym{}}
	for _, s := range e.Synonyms {
		r.Synonyms = append(r.Synonyms, recordedSynonym{s.Name, sourceName(s.Source), nullable(s.Value, s.Null)})
	}
	return r
}

func sourceName(s kmsg.ConfigSource) string { return strings.ToUpper(s.String()) }

func nullable(s string, null bool) *string {
	if null {
		return nil
	}
	return &s
}

func load(t *testing.T, file string) *Settings {
	t.Helper()
	s, _, err := Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, refused map[string]error) {
	t.Helper()
	for name, err := range refused {
		t.Fatalf("%s: %v", name, err)
	}
}

func readRecorded[T any](t *testing.T, file string) []T {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		var one T
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatalf("%s: %v in %s", file, err, lines.Text())
		}
		all = append(all, one)
	}
	return all
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
