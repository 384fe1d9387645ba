package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// TestLeaderChoice replays testdata/leader: one election per case.
//
//	elect why=<offline|preferred|reassigned|shutdown|unclean> assignment=(…) isr=(…) live=(…) leader=N epoch=N [down=(…)] [unclean]
//	first assignment=(…) live=(…)
//	leave gone=(…) isr=(…) leader=N epoch=N
//
// down are brokers that are shutting down.
func TestLeaderChoice(t *testing.T) {
	datadriven.RunTest(t, "testdata/leader", func(t *testing.T, d *datadriven.TestData) string {
		ids := func(name string) []int32 { return idsArg(t, d, name) }
		in := func(name string) func(int32) bool {
			set := ids(name)
			return func(id int32) bool { return slices.Contains(set, id) }
		}
		old := zkmeta.PartitionState{Leader: zkmeta.NoLeader, ISR: ids("isr")}
		d.MaybeScanArgs(t, "leader", &old.Leader)
		d.MaybeScanArgs(t, "epoch", &old.LeaderEpoch)
		old.Recovering = d.HasArg("recovering")
		before := fmt.Sprint(old)

		var next zkmeta.PartitionState
		var ok bool
		switch d.Cmd {
		case "first":
			next, ok = firstState(ids("assignment"), in("live"))
		case "leave":
			next, ok = withoutReplicas(old, in("gone"))
			if !ok {
				return "unchanged"
			}
		case "elect":
			var why string
			d.ScanArgs(t, "why", &why)
			at := slices.IndexFunc([]election{electOffline, electPreferred, electReassigned, electShutdown, electUnclean}, func(e election) bool { return e.String() == why })
			next, ok = elect(election(at), old, candidates{
				assignment: ids("assignment"), live: in("live"), shuttingDown: in("down"), unclean: d.HasArg("unclean"),
			})
		default:
			d.Fatalf(t, "no such command")
		}
		if fmt.Sprint(old) != before {
			t.Errorf("%s: the old state was changed to %v", d.Pos, old)
		}
		if !ok {
			return "no leader"
		}
		return describeState(next)
	})
}

func describeState(s zkmeta.PartitionState) string {
	text := fmt.Sprintf("leader=%d epoch=%d isr=%s", s.Leader, s.LeaderEpoch, joinIDs(s.ISR))
	if s.Recovering {
		text += " recovering"
	}
	return text
}

func joinIDs(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ",")
}

// idsArg reads a list of broker ids, "name=(1,2,3)" or "name=1"; an argument that is
// not there is empty.
func idsArg(t *testing.T, d *datadriven.TestData, name string) []int32 {
	var ids []int32
	for _, arg := range d.CmdArgs {
		if arg.Key != name {
			continue
		}
		for _, v := range arg.Vals {
			if v == "" {
				continue
			}
			id, err := strconv.Atoi(v)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			ids = append(ids, int32(id))
		}
	}
	return ids
}
