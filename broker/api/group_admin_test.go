package api

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestListGroups(t *testing.T) {
	w := newGroupWorld(t)
	w.lead("t", 1, 0)
	w.stable("members")
	w.joined(5, "assigning")
	call[*kmsg.OffsetCommitResponse](w, 9, committing("offsets", "t/0=1"))
	list := func(version int16, states, types []string) (found []string) {
		req := kmsg.NewPtrListGroupsRequest()
		req.StatesFilter, req.TypesFilter = states, types
		resp := call[*kmsg.ListGroupsResponse](w, version, req)
		w.expect("list", resp.ErrorCode, nil)
		for _, g := range resp.Groups {
			found = append(found, fmt.Sprintf("%s %s %s %s", g.Group, g.ProtocolType, g.GroupState, g.GroupType))
		}
		slices.Sort(found)
		return found
	}
	for v := range int16(3) {
		expectList(t, fmt.Sprint("version ", v), list(v, nil, nil), "assigning consumer  ", "members consumer  ", "offsets   ")
	}
	expectList(t, "version 4", list(4, nil, nil), "assigning consumer CompletingRebalance ", "members consumer Stable ", "offsets  Empty ")
	all := []string{"assigning consumer CompletingRebalance classic", "members consumer Stable classic", "offsets  Empty classic"}
	expectList(t, "version 5", list(5, nil, nil), all...)
	expectList(t, "classic", list(5, nil, []string{"consumer", "Classic"}), all...)
	expectList(t, "consumer", list(5, nil, []string{"consumer"}))
	expectList(t, "states", list(5, []string{"sTABLE", "empty", "nonsense"}, nil), all[1:]...)
	expectList(t, "no state", list(5, []string{"nonsense"}, nil))
	expectList(t, "both", list(5, []string{"Stable"}, []string{"nonsense"}))
}

func TestDescribeGroups(t *testing.T) {
	w := newGroupWorld(t)
	j := w.stable("g")
	half := w.joined(5, "half")
	for v := range int16(6) {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{"half", "g", "nobody", "g"}
		req.IncludeAuthorizedOperations = true
		groups := call[*kmsg.DescribeGroupsResponse](w, v, req).Groups
		operations := noOperations
		if v >= 3 {
			operations = groupOperations
		}
		member := func(g kmsg.DescribeGroupsResponseGroup) string {
			if len(g.Members) != 1 {
				return fmt.Sprint(len(g.Members), " members")
			}
			m := g.Members[0]
			return fmt.Sprintf("%s %s %s %q %q", m.MemberID, m.ClientID, m.ClientHost, m.ProtocolMetadata, m.MemberAssignment)
		}
		for i, want := range []string{
			"half 0 CompletingRebalance consumer  " + fmt.Sprintf("%s test /inproc-client \"\" \"\"", half.MemberID),
			"g 0 Stable consumer range " + fmt.Sprintf("%s test /inproc-client \"about me\" \"for %[1]s\"", j.MemberID),
			"nobody 0 Dead   0 members",
			"g 0 Stable consumer range " + fmt.Sprintf("%s test /inproc-client \"about me\" \"for %[1]s\"", j.MemberID),
		} {
			g := groups[i]
			if got := fmt.Sprintf("%s %d %s %s %s %s", g.Group, g.ErrorCode, g.State, g.ProtocolType, g.Protocol, member(g)); got != want {
				t.Errorf("v%d: %s, want %s", v, got, want)
			}
			if g.AuthorizedOperations != operations {
				t.Errorf("v%d: operations %d", v, g.AuthorizedOperations)
			}
		}
		req.IncludeAuthorizedOperations = false
		if g := call[*kmsg.DescribeGroupsResponse](w, v, req).Groups[0]; g.AuthorizedOperations != noOperations {
			t.Errorf("v%d: operations %d", v, g.AuthorizedOperations)
		}
	}
}

// A group that is named again and again is described only so often.
func TestGroupDescribedAgain(t *testing.T) {
	w := newGroupWorld(t)
	join := joining("g", "")
	join.Protocols[0].Metadata = bytes.Repeat([]byte{'x'}, 100<<10)
	j := call[*kmsg.JoinGroupResponse](w, 3, join)
	w.expect("sync", call[*kmsg.SyncGroupResponse](w, 3, syncing("g", j)).ErrorCode, nil)
	req := kmsg.NewPtrDescribeGroupsRequest()
	for range 1000 {
		req.Groups = append(req.Groups, "g")
	}
	size, refused := 0, 0
	for _, g := range call[*kmsg.DescribeGroupsResponse](w, 5, req).Groups {
		if g.ErrorCode == kerr.InvalidRequest.Code {
			refused++
		}
		for _, m := range g.Members {
			size += len(m.ProtocolMetadata)
		}
	}
	if size < maxGroupsAgain || size > maxGroupsAgain+200<<10 || refused < 900 {
		t.Errorf("%d bytes, %d groups refused", size, refused)
	}
}

func TestDeleteGroups(t *testing.T) {
	w := newGroupWorld(t)
	w.lead("t", 1, 0)
	w.stable("members")
	for v := range int16(3) {
		call[*kmsg.OffsetCommitResponse](w, 9, committing("offsets", "t/0=1"))
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{"offsets", "members", "nobody", "offsets", ""}
		var got []string
		for _, g := range call[*kmsg.DeleteGroupsResponse](w, v, req).Groups {
			got = append(got, fmt.Sprint(g.Group, " ", g.ErrorCode))
		}
		expectList(t, fmt.Sprint("version ", v), got, "offsets 0", "members 68", "nobody 69", " 69")
		expectList(t, "left", fetchedOffsets(call[*kmsg.OffsetFetchResponse](w, 7, fetching("offsets"))))
	}
}
