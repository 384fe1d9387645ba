package compat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// describeGroups is all that a broker says about its groups, in lines that are sorted.
func describeGroups(t *testing.T, b *harness.Broker) []string {
	t.Helper()
	client := franz(t, b)
	defer client.Close()
	admin := kadm.NewClient(client)
	var listed kadm.ListedGroups
	waitUntil(t, "the groups are loaded", func() bool {
		var err error
		listed, err = admin.ListGroups(within(t, 10*time.Second))
		return err == nil
	})
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, l := range listed {
		say("%s: listed as %s, %q", l.Group, l.State, l.ProtocolType)
	}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = listed.Groups()
	described, err := describe.RequestWith(within(t, 20*time.Second), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range described.Groups {
		say("%s: %s, %q, %q, error code %d", d.Group, d.State, d.ProtocolType, d.Protocol, d.ErrorCode)
		for _, m := range d.Members {
			say("%s: %s, instance %s, client %s at %s, subscription %x, assignment %x", d.Group, m.MemberID, orNone(m.InstanceID), m.ClientID, m.ClientHost,
				m.ProtocolMetadata, m.MemberAssignment)
		}
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: d.Group, MemberEpoch: -1}}
		for _, stable := range []bool{false, true} {
			req.RequireStable = stable
			resp, err := req.RequestWith(within(t, 20*time.Second), client)
			if err != nil || resp.Groups[0].ErrorCode != 0 {
				t.Fatalf("the offsets of %s: %v, %+v", d.Group, err, resp)
			}
			for _, topic := range resp.Groups[0].Topics {
				for _, p := range topic.Partitions {
					if !stable {
						say("%s: %s-%d at %d, epoch %d, metadata %s", d.Group, topic.Topic, p.Partition, p.Offset, p.LeaderEpoch, orNone(p.Metadata))
					} else if p.ErrorCode != 0 {
						say("%s: %s-%d has error code %d", d.Group, topic.Topic, p.Partition, p.ErrorCode)
					}
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func orNone(s *string) string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("%q", *s)
}

// compareLines reports where two texts differ.
func compareLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	var only strings.Builder
	for _, l := range want {
		if !slices.Contains(got, l) {
			fmt.Fprintf(&only, "- %s\n", l)
		}
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			fmt.Fprintf(&only, "+ %s\n", l)
		}
	}
	t.Errorf("%s: not there any more (-), or not before (+), of %d lines:\n%s", what, len(want), only.String())
}
