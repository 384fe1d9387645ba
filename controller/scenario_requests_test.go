package controller

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/twmb/franz-go/pkg/kerr"
)

// request runs the commands of TestScenarios that ask the controller, as brokers and
// tools do.
func (s *scenario) request(t *testing.T, d *datadriven.TestData) string {
	l := s.lab
	var id int32
	d.MaybeScanArgs(t, "id", &id)
	switch d.Cmd {
	case "isr":
		return s.alterPartition(t, d)
	case "shutdown":
		led, err := l.controller.ControlledShutdown(l.ctx, id, s.brokerEpoch(t, d, id))
		if err != nil {
			return codeName(err)
		}
		return fmt.Sprint("still leads ", led)
	case "elect":
		tps := partitionsArg(d)
		results, err := l.controller.ElectLeaders(l.ctx, d.HasArg("unclean"), tps)
		if err != nil {
			return codeName(err)
		}
		var out []string
		for i, r := range results {
			if r.Err != nil {
				out = append(out, fmt.Sprintf("%v %v", tps[i], r.Err))
			} else {
				out = append(out, fmt.Sprintf("%v leader=%d", tps[i], r.Leader))
			}
		}
		return strings.Join(out, "\n")
	case "allow-unclean":
		var topic string
		d.MaybeScanArgs(t, "topic", &topic)
		if topic != "" {
			data, err := zkmeta.EncodeConfig(map[string]string{"unclean.leader.election.enable": "true"})
			l.must(err)
			_, err = l.admin.Session().Do1(l.ctx, 0, session.Set(zkmeta.TopicConfig(topic).Path(), data, session.AnyVersion))
			l.must(err)
		} else {
			l.settings.SetClusterDefaults(map[string]string{"unclean.leader.election.enable": "true"})
		}
		l.controller.AllowUncleanElection()
		return "ok"
	}
	d.Fatalf(t, "no such command")
	return ""
}

func (s *scenario) alterPartition(t *testing.T, d *datadriven.TestData) string {
	l := s.lab
	var broker int32
	d.ScanArgs(t, "broker", &broker)
	tps := partitionsArg(d)
	var changes []ISRChange
	for _, tp := range tps {
		c := ISRChange{Topic: tp.Topic, Partition: tp.Partition, ISR: idsArg(t, d, "isr"), Recovering: d.HasArg("recovering")}
		d.ScanArgs(t, "epoch", &c.LeaderEpoch)
		d.ScanArgs(t, "zv", &c.PartitionEpoch)
		if d.HasArg("by-id") {
			c.Topic = ""
			found, err := l.admin.TopicAssignments(l.ctx, []string{tp.Topic}, nil)
			l.must(err)
			c.TopicID = found[0].ID
		}
		changes = append(changes, c)
	}
	results, err := l.controller.AlterPartition(l.ctx, broker, s.brokerEpoch(t, d, broker), changes)
	if err != nil {
		return codeName(err)
	}
	var out []string
	for i, r := range results {
		if r.Err != nil {
			out = append(out, fmt.Sprintf("%v %s", tps[i], codeName(r.Err)))
		} else {
			out = append(out, fmt.Sprintf("%v %s zv=%d", tps[i], describeState(r.State), r.PartitionEpoch))
		}
	}
	return strings.Join(out, "\n")
}

// brokerEpoch is that of a broker's latest registration, or as far from it as the
// argument says.
func (s *scenario) brokerEpoch(t *testing.T, d *datadriven.TestData, id int32) int64 {
	if d.HasArg("any-epoch") {
		return AnyBrokerEpoch
	}
	var off int64
	d.MaybeScanArgs(t, "broker-epoch", &off)
	return s.lab.fakes.epochOf(id) + off
}

func codeName(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return err.Error()
}

// partitionsArg reads "partitions=(a-0,b-1)".
func partitionsArg(d *datadriven.TestData) []protocol.TopicPartition {
	var tps []protocol.TopicPartition
	for _, arg := range d.CmdArgs {
		if arg.Key == "partitions" {
			for _, name := range arg.Vals {
				tp, _ := protocol.ParseTopicPartitionDir(name)
				tps = append(tps, tp)
			}
		}
	}
	return tps
}
