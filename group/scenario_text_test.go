package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/statelog"
)

// scenarioArgs reads a command.
type scenarioArgs struct {
	t *testing.T
	d *datadriven.TestData
}

func (a scenarioArgs) text(name, otherwise string) string {
	a.d.MaybeScanArgs(a.t, name, &otherwise)
	return otherwise
}

func (a scenarioArgs) optional(name string) *string {
	if !a.d.HasArg(name) {
		return nil
	}
	s := a.text(name, "")
	return &s
}

func (a scenarioArgs) number(name string, otherwise int64) int64 {
	a.d.MaybeScanArgs(a.t, name, &otherwise)
	return otherwise
}

func (a scenarioArgs) ms(name string, otherwise int64) time.Duration {
	return time.Duration(a.number(name, otherwise)) * time.Millisecond
}

func (a scenarioArgs) list(name string) []string {
	for _, arg := range a.d.CmdArgs {
		if arg.Key == name {
			return arg.Vals
		}
	}
	return nil
}

func (a scenarioArgs) partitions() (list []protocol.TopicPartition) {
	for _, text := range a.list("partitions") {
		tp, ok := protocol.ParseTopicPartitionDir(text)
		if !ok {
			a.d.Fatalf(a.t, "no partition: %s", text)
		}
		list = append(list, tp)
	}
	return list
}

func (a scenarioArgs) join() *JoinRequest {
	r := &JoinRequest{
		MemberID:          a.text("id", ""),
		InstanceID:        a.optional("instance"),
		ClientID:          a.text("client", "m"),
		ClientHost:        "/127.0.0.1",
		SessionTimeout:    a.ms("st", 10_000),
		RebalanceTimeout:  a.ms("rt", 30_000),
		ProtocolType:      a.text("type", "consumer"),
		TwoSteps:          !a.d.HasArg("one-step"),
		CanSkipAssignment: a.d.HasArg("skip"),
	}
	list := a.list("protocols")
	if !a.d.HasArg("protocols") {
		list = []string{"range:t"}
	}
	for _, text := range list {
		if text == "" {
			continue
		}
		name, about, _ := strings.Cut(text, ":")
		p := Protocol{Name: name}
		if raw, ok := strings.CutPrefix(about, "="); ok {
			p.Metadata = []byte(raw)
		} else {
			p.Metadata = subscription(strings.Split(about, "+")...)
		}
		r.Protocols = append(r.Protocols, p)
	}
	return r
}

// subscription is the metadata of a consumer.
func subscription(topics ...string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, 1}, uint32(len(topics)))
	for _, topic := range topics {
		b = statelog.AppendString(b, topic)
	}
	return binary.BigEndian.AppendUint32(b, 1<<32-1)
}

func (a scenarioArgs) sync() *SyncRequest {
	r := &SyncRequest{
		MemberID: a.text("id", ""), InstanceID: a.optional("instance"), Generation: int32(a.number("gen", -1)),
		ProtocolType: a.optional("type"), Protocol: a.optional("protocol"),
	}
	for _, text := range a.list("assign") {
		id, assignment, _ := strings.Cut(text, ":")
		r.Assignments = append(r.Assignments, Assignment{id, []byte(assignment)})
	}
	return r
}

func (a scenarioArgs) commit(now time.Time) *Commit {
	c := &Commit{MemberID: a.text("id", ""), InstanceID: a.optional("instance"), Generation: int32(a.number("gen", -1)), Offsets: a.offsets()}
	if a.d.HasArg("expire") {
		for i := range c.Offsets {
			c.Offsets[i].ExpireMS = now.Add(a.ms("expire", 0)).UnixMilli()
		}
	}
	return c
}

func (a scenarioArgs) offsets() (list []CommitOffset) {
	for _, text := range a.list("offsets") {
		parts := strings.Split(text, ":")
		tp, ok := protocol.ParseTopicPartitionDir(parts[0])
		offset, err := strconv.ParseInt(parts[1], 10, 64)
		if !ok || err != nil {
			a.d.Fatalf(a.t, "no offset: %s", text)
		}
		o := CommitOffset{Topic: tp.Topic, Partition: tp.Partition, Offset: offset, LeaderEpoch: -1, CommitMS: NoTime, ExpireMS: NoExpiry}
		if len(parts) > 2 {
			o.Metadata = parts[2]
		}
		list = append(list, o)
	}
	return list
}

func describeJoin(r JoinResult) string {
	if r.Err != nil {
		text := name(r.Err)
		if r.MemberID != "" {
			text += " id=" + r.MemberID
		}
		if r.Generation != NoGeneration {
			text += fmt.Sprintf(" gen=%d leader=%s", r.Generation, r.Leader)
		}
		return text
	}
	text := fmt.Sprintf("joined as %s gen=%d %s %s leader=%s", r.MemberID, r.Generation, r.ProtocolType, r.Protocol, r.Leader)
	if r.SkipAssignment {
		text += " skip"
	}
	if r.Members != nil {
		text += " members="
	}
	for i, m := range r.Members {
		if i > 0 {
			text += ","
		}
		text += m.ID
		if m.InstanceID != nil {
			text += "(" + *m.InstanceID + ")"
		}
	}
	return text
}

func describeWrite(w *write) string {
	switch {
	case w.metadata != nil:
		v := &w.metadata.value
		text := fmt.Sprintf("group gen=%d", v.generation)
		for i := range v.members {
			text += fmt.Sprintf(" %s:%q", v.members[i].id, v.members[i].assignment)
		}
		return text
	case w.commit != nil:
		var texts []string
		for _, o := range w.commit.Offsets {
			if o.Err == nil {
				texts = append(texts, fmt.Sprintf("%v %s", o.TopicPartition(), describeOffset(o.value(w.timeMS))))
			}
		}
		return "offsets " + strings.Join(texts, ", ")
	}
	var texts []string
	for _, tp := range slices.SortedFunc(slices.Values(w.tombstones.offsets), protocol.TopicPartition.Compare) {
		texts = append(texts, tp.String())
	}
	if w.tombstones.group {
		texts = append(texts, "the group")
	}
	return "tombstones " + strings.Join(texts, ", ")
}

func describeOffset(v OffsetValue) string {
	text := fmt.Sprintf("%d at %d", v.Offset, v.CommitMS-epoch.UnixMilli())
	if v.Metadata != "" {
		text += fmt.Sprintf(" %q", v.Metadata)
	}
	if v.ExpireMS != NoExpiry {
		text += fmt.Sprintf(" until %d", v.ExpireMS-epoch.UnixMilli())
	}
	return text
}

func describeCommit(c *Commit) string {
	var texts []string
	for i := range c.Offsets {
		texts = append(texts, fmt.Sprintf("%v %s", c.Offsets[i].TopicPartition(), name(c.Offsets[i].Err)))
	}
	return strings.Join(texts, ", ")
}

// encodeWrite returns the batch of a write.
func encodeWrite(w *write, base int64) []record.Batch {
	e := encoder{builder: record.NewBuilder().SetBaseOffset(base)}
	e.add(w)
	b, err := e.builder.Build()
	if err != nil {
		panic(err)
	}
	return []record.Batch{b}
}

func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}

func codeOf(err error) int16 {
	var k *kerr.Error
	if !errors.As(err, &k) {
		panic(fmt.Sprintf("no error of Kafka: %v", err))
	}
	return k.Code
}

func errorNamed(t *testing.T, text string) error {
	for code := int16(-1); code < 200; code++ {
		if err, ok := kerr.ErrorForCode(code).(*kerr.Error); ok && err.Message == text {
			return err
		}
	}
	t.Fatalf("no error %q", text)
	return nil
}
