package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// TestMail replays testdata/mail: what is put into the mail of one broker, and what
// is taken out.
//
//	role P epoch=N [id=X] [new]   the broker's part in partition P of topic id X
//	state P epoch=N [id=X]        the state of a partition
//	gone P [id=X]                 a partition is deleted
//	stop P [delete]               the broker's part ends
//	brokers                       the live brokers changed
//	take                          the content of the next request
//	lost                          the request that was taken last was not delivered
func TestMail(t *testing.T) {
	var m mail
	var last parcel
	datadriven.RunTest(t, "testdata/mail", func(t *testing.T, d *datadriven.TestData) string {
		for line := range strings.Lines(d.Cmd + " " + strings.Join(argTexts(d), " ") + "\n" + d.Input) {
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			if out := mailStep(t, &m, &last, words); out != "" {
				return out
			}
		}
		return ""
	})
}

func argTexts(d *datadriven.TestData) []string {
	var texts []string
	for _, arg := range d.CmdArgs {
		text := arg.Key
		if len(arg.Vals) > 0 {
			text += "=" + arg.Vals[0]
		}
		texts = append(texts, text)
	}
	return texts
}

func mailStep(t *testing.T, m *mail, last *parcel, words []string) string {
	n := &news{}
	if len(words) > 1 {
		n.TopicPartition, _ = protocol.ParseTopicPartitionDir(words[1])
	}
	for _, w := range words[min(2, len(words)):] {
		if text, ok := strings.CutPrefix(w, "id="); ok {
			n.topicID[0] = text[0]
		}
		fmt.Sscanf(w, "epoch=%d", &n.state.LeaderEpoch)
	}
	switch words[0] {
	case "role":
		m.addRole(n, slices.Contains(words, "new"))
	case "state":
		m.addState(n)
	case "gone":
		n.deleting = true
		m.addState(n)
	case "stop":
		s := stop{leaderEpoch: 1, remove: slices.Contains(words, "delete")}
		if s.remove {
			s.leaderEpoch = deletionEpoch
		}
		m.addStop(n.TopicPartition, s)
	case "brokers":
		m.brokers = true
	case "take":
		*last = m.take()
		return describeParcel(*last)
	case "lost":
		m.putBack(*last)
	default:
		t.Fatalf("no command %q", words[0])
	}
	return ""
}

func describeParcel(p parcel) string {
	if p.kind == kindNone {
		return "nothing"
	}
	out := []string{reqName(p.kind)}
	for _, e := range p.roles {
		text := fmt.Sprintf("  role %v epoch=%d", e.key, e.value.state.LeaderEpoch)
		if e.value.isNew {
			text += " new"
		}
		out = append(out, text)
	}
	for _, e := range p.states {
		text := fmt.Sprintf("  state %v epoch=%d", e.key.TopicPartition, e.value.state.LeaderEpoch)
		if e.value.deleting {
			text = fmt.Sprintf("  gone %v", e.key.TopicPartition)
		}
		if id := e.key.topicID[0]; id != 0 {
			text += " id=" + string(rune(id))
		}
		out = append(out, text)
	}
	for _, e := range p.stops {
		out = append(out, fmt.Sprintf("  stop %v epoch=%d delete=%v", e.key, e.value.leaderEpoch, e.value.remove))
	}
	return strings.Join(out, "\n")
}

// TestMailInParcels holds that a long line is delivered in order and in bounded
// parts, LeaderAndIsr always ahead of UpdateMetadata.
func TestMailInParcels(t *testing.T) {
	var m mail
	const partitions = 2*parcelSize + 7
	for i := range int32(partitions) {
		n := &news{TopicPartition: protocol.TopicPartition{Topic: "t", Partition: i}, state: zkmeta.PartitionState{Leader: 1}}
		m.addRole(n, true)
		m.addState(n)
	}
	var roles, states int32
	for {
		p := m.take()
		if p.kind == kindNone {
			break
		}
		if len(p.roles)+len(p.states) > parcelSize {
			t.Fatalf("%d partitions in one request", len(p.roles)+len(p.states))
		}
		for _, e := range p.roles {
			if e.key.Partition != roles {
				t.Fatalf("role %d came in place of %d", e.key.Partition, roles)
			}
			roles++
		}
		for _, e := range p.states {
			if e.key.Partition != states || states >= roles {
				t.Fatalf("state %d came in place of %d, after %d roles", e.key.Partition, states, roles)
			}
			states++
		}
	}
	if roles != partitions || states != partitions {
		t.Errorf("%d roles, %d states", roles, states)
	}
}

// While a LeaderAndIsr is under way, another partition is created. Its state does
// not go out before its role: clients would be sent to a leader that has not heard
// of the partition.
func TestUpdateMetadataDoesNotOvertake(t *testing.T) {
	var m mail
	add := func(topic string) {
		n := &news{TopicPartition: protocol.TopicPartition{Topic: topic}}
		m.addRole(n, true)
		m.addState(n)
	}
	expect := func(k kind, topic string) {
		t.Helper()
		p := m.take()
		var got string
		if len(p.roles) == 1 {
			got = p.roles[0].key.Topic
		} else if len(p.states) == 1 {
			got = p.states[0].key.Topic
		}
		if p.kind != k || len(p.roles)+len(p.states) != 1 || got != topic {
			t.Errorf("took %d roles, %d states of kind %v (%s), want one of kind %v, %s", len(p.roles), len(p.states), p.kind, got, k, topic)
		}
	}
	add("a")
	expect(kindLeaderAndISR, "a")
	add("b")
	expect(kindMetadata, "a")
	expect(kindLeaderAndISR, "b")
	expect(kindMetadata, "b")
	if p := m.take(); p.kind != kindNone {
		t.Errorf("something is left: %+v", p)
	}
}
