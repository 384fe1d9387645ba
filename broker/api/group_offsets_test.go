package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/group"
)

// committing commits offsets, each given as topic/partition=offset, for somebody who is in
// no group. Those of a topic that follow each other stand together.
func committing(group string, offsets ...string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	for _, s := range offsets {
		at, offset, _ := strings.Cut(s, "=")
		name, number, _ := strings.Cut(at, "/")
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != name {
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic = name
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		fmt.Sscan(number, &p.Partition)
		fmt.Sscan(offset, &p.Offset)
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	return req
}

// committedCodes spells a response as topic/partition code.
func committedCodes(resp *kmsg.OffsetCommitResponse) (codes []string) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			codes = append(codes, fmt.Sprintf("%s/%d %d", t.Topic, p.Partition, p.ErrorCode))
		}
	}
	return codes
}

// fetching asks for partitions, each given as topic/partition; for all without any.
func fetching(group string, partitions ...string) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	for _, s := range partitions {
		name, number, _ := strings.Cut(s, "/")
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != name {
			req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: name})
		}
		var p int32
		fmt.Sscan(number, &p)
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	for _, t := range req.Topics {
		g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	return req
}

// fetchedOffsets spells a response of before version 8 as topic/partition offset code.
func fetchedOffsets(resp *kmsg.OffsetFetchResponse) (offsets []string) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			offsets = append(offsets, fmt.Sprintf("%s/%d %d %d", t.Topic, p.Partition, p.Offset, p.ErrorCode))
		}
	}
	return offsets
}

// fetchedGroups spells one as group code, and topic/partition offset code.
func fetchedGroups(resp *kmsg.OffsetFetchResponse) (offsets []string) {
	for _, g := range resp.Groups {
		offsets = append(offsets, fmt.Sprint(g.Group, " ", g.ErrorCode))
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				offsets = append(offsets, fmt.Sprintf("%s/%d %d %d", t.Topic, p.Partition, p.Offset, p.ErrorCode))
			}
		}
	}
	return offsets
}

func expectList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// What was committed in one version is read in every other.
func TestCommitAndFetch(t *testing.T) {
	w := newGroupWorld(t)
	w.lead("t", 3, 0)
	w.lead("u", 1, 0)
	for v := int16(1); v <= 9; v++ {
		name := fmt.Sprint("g", v)
		req := committing(name, fmt.Sprint("t/0=", v), "t/7=1", "x/0=1", "u/0=-7", "t/2=5")
		p := &req.Topics[0].Partitions[0]
		p.LeaderEpoch, p.Metadata = 3, kmsg.StringPtr("m")
		epoch := int32(-1)
		if v >= 6 {
			epoch = 3
		}
		// What does not exist is refused before anything else is looked at.
		expectList(t, fmt.Sprint("commit, version ", v), committedCodes(call[*kmsg.OffsetCommitResponse](w, v, req)), "t/0 0", "t/7 3", "x/0 3", "u/0 0", "t/2 0")
		for fv := int16(1); fv <= 9; fv++ {
			what := fmt.Sprintf("committed in %d, fetched in %d", v, fv)
			named, all := fetching(name, "t/0", "t/1", "x/0", "u/0"), fetching(name)
			wantNamed := []string{fmt.Sprintf("t/0 %d 0", v), "t/1 -1 0", "x/0 -1 0", "u/0 -7 0"}
			wantAll := []string{fmt.Sprintf("t/0 %d 0", v), "t/2 5 0", "u/0 -7 0"}
			resp := call[*kmsg.OffsetFetchResponse](w, fv, named)
			if fv >= 8 {
				expectList(t, what, fetchedGroups(resp), append([]string{name + " 0"}, wantNamed...)...)
				expectList(t, what, fetchedGroups(call[*kmsg.OffsetFetchResponse](w, fv, all)), append([]string{name + " 0"}, wantAll...)...)
				if p := resp.Groups[0].Topics[0].Partitions[0]; p.LeaderEpoch != epoch || *p.Metadata != "m" {
					t.Errorf("%s: %+v", what, p)
				}
				if p := resp.Groups[0].Topics[0].Partitions[1]; p.LeaderEpoch != -1 || *p.Metadata != "" {
					t.Errorf("%s: %+v", what, p)
				}
				continue
			}
			expectList(t, what, fetchedOffsets(resp), wantNamed...)
			if fv >= 2 {
				expectList(t, what, fetchedOffsets(call[*kmsg.OffsetFetchResponse](w, fv, all)), wantAll...)
			}
			if p := resp.Topics[0].Partitions[0]; *p.Metadata != "m" || fv >= 5 && p.LeaderEpoch != epoch {
				t.Errorf("%s: %+v", what, p)
			}
		}
	}
	several := fetching("g1", "t/0")
	several.Groups = append(several.Groups, fetching("nobody", "t/0").Groups[0], fetching("nobody").Groups[0], fetching("g2").Groups[0], fetching("g1", "t/2").Groups[0])
	expectList(t, "several groups", fetchedGroups(call[*kmsg.OffsetFetchResponse](w, 8, several)),
		"g1 0", "t/0 1 0", "nobody 0", "t/0 -1 0", "nobody 0", "g2 0", "t/0 2 0", "t/2 5 0", "u/0 -7 0", "g1 0", "t/2 5 0")
}

// Version 1 says when an offset was committed, versions 2 to 4 how long it is to stay.
func TestTimesOfCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGroupWorld(t)
		w.lead("t", 1, 0)
		now := time.Now().UnixMilli()
		for v := int16(1); v <= 9; v++ {
			for _, given := range []int64{-1, 5000} {
				name := fmt.Sprint("g", v, given)
				req := committing(name, "t/0=1")
				req.RetentionTimeMillis, req.Topics[0].Partitions[0].Timestamp = given, given
				expectList(t, name, committedCodes(call[*kmsg.OffsetCommitResponse](w, v, req)), "t/0 0")
				got, err := w.groups.FetchAllOffsets(nil, name)
				if err != nil || len(got) != 1 {
					t.Fatal(got, err)
				}
				at, expires := now, group.NoExpiry
				switch {
				case given < 0:
				case v == 1:
					at = given
				case v <= 4:
					expires = now + given
				}
				if got[0].CommitMS != at || got[0].ExpireMS != expires {
					t.Errorf("version %d, %d: at %d, expires %d; want %d and %d", v, given, got[0].CommitMS, got[0].ExpireMS, at, expires)
				}
			}
		}
	})
}

func TestCommitIsRefused(t *testing.T) {
	w := newGroupWorld(t)
	w.lead("t", 2, 0)
	j := w.stable("g")
	by := func(group, member string, generation int32, instance *string) *kmsg.OffsetCommitRequest {
		req := committing(group, "t/0=1", "t/9=1")
		req.MemberID, req.Generation, req.InstanceID = member, generation, instance
		return req
	}
	static := "i"
	for v := int16(1); v <= 9; v++ {
		for what, c := range map[string]struct {
			req   *kmsg.OffsetCommitRequest
			want  error
			since int16
		}{
			"member":           {by("g", j.MemberID, 1, nil), nil, 1},
			"old generation":   {by("g", j.MemberID, 0, nil), kerr.IllegalGeneration, 1},
			"unknown member":   {by("g", "x", 1, nil), kerr.UnknownMemberID, 1},
			"nobody":           {by("g", "", -1, nil), kerr.UnknownMemberID, 1},
			"unknown group":    {by("h", "x", 1, nil), kerr.IllegalGeneration, 1},
			"unknown instance": {by("g", j.MemberID, 1, &static), kerr.UnknownMemberID, 7},
			"empty group id":   {by("", "", -1, nil), nil, 1},
		} {
			if v < c.since {
				continue
			}
			code := int16(0)
			if c.want != nil {
				code = c.want.(*kerr.Error).Code
			}
			expectList(t, fmt.Sprintf("%s, version %d", what, v), committedCodes(call[*kmsg.OffsetCommitResponse](w, v, c.req)), fmt.Sprint("t/0 ", code), "t/9 3")
		}
		long := committing("l", "t/0=1", "t/1=1")
		long.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(strings.Repeat("ä", 4097))
		long.Topics[0].Partitions[1].Metadata = kmsg.StringPtr(strings.Repeat("ä", 4096))
		expectList(t, "long metadata", committedCodes(call[*kmsg.OffsetCommitResponse](w, v, long)), "t/0 12", "t/1 0")
		expectList(t, "nothing", committedCodes(call[*kmsg.OffsetCommitResponse](w, v, committing("g"))))
	}
}

// A commit is answered when its record is as safe as acks=all makes it, and others see
// it then. Who requires what is stable comes again meanwhile.
func TestCommitWaitsForReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGroupWorld(t)
		w.lead("t", 2, 0)
		expectList(t, "first", committedCodes(call[*kmsg.OffsetCommitResponse](w, 9, committing("g", "t/0=1"))), "t/0 0")
		w.coordinate(1, 1, 2)
		c := w.dial(w.brokers)
		defer c.Close()
		begun := time.Now()
		commit := committing("g", "t/0=2", "t/1=2")
		w.send(c, commit, 9)
		synctest.Wait()
		for v := int16(1); v <= 9; v++ {
			for _, stable := range []bool{false, true} {
				named, all := fetching("g", "t/0", "t/1"), fetching("g")
				named.RequireStable, all.RequireStable = stable, stable
				first, second := "t/0 1 0", "t/1 -1 0"
				if stable && v >= 7 {
					first, second = "t/0 -1 88", "t/1 -1 88"
				}
				show := fetchedOffsets
				var head []string
				if v >= 8 {
					show, head = fetchedGroups, []string{"g 0"}
				}
				expectList(t, fmt.Sprintf("version %d, stable %v", v, stable), show(call[*kmsg.OffsetFetchResponse](w, v, named)), slices.Concat(head, []string{first, second})...)
				if v >= 2 {
					expectList(t, fmt.Sprintf("all, version %d, stable %v", v, stable), show(call[*kmsg.OffsetFetchResponse](w, v, all)), slices.Concat(head, []string{first})...)
				}
			}
		}
		time.Sleep(time.Second)
		w.coordinate(2, 1) // the other one has left the ISR
		expectList(t, "second", committedCodes(w.receive(c, commit).(*kmsg.OffsetCommitResponse)), "t/0 0", "t/1 0")
		if d := time.Since(begun); d != time.Second {
			t.Errorf("after %v", d)
		}
		expectList(t, "after it", fetchedOffsets(call[*kmsg.OffsetFetchResponse](w, 7, fetching("g"))), "t/0 2 0", "t/1 2 0")
		w.coordinate(3, 1, 2)
		begun = time.Now()
		w.send(c, commit, 9)
		expectList(t, "third", committedCodes(w.receive(c, commit).(*kmsg.OffsetCommitResponse)), "t/0 7", "t/1 7")
		if d := time.Since(begun); d != 5*time.Second {
			t.Errorf("offsets.commit.timeout.ms is over after %v", d)
		}
	})
}

// Version 1 has no place for an error but the partitions, and later ones have one.
func TestFetchOffsetsElsewhere(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	req := fetching("g", "t/0", "x/1")
	for v := int16(1); v <= 9; v++ {
		resp := call[*kmsg.OffsetFetchResponse](w, v, req)
		switch {
		case v == 1:
			expectList(t, "version 1", fetchedOffsets(resp), "t/0 -1 16", "x/1 -1 16")
		case v < 8:
			w.expect("whole", resp.ErrorCode, kerr.NotCoordinator)
			expectList(t, "whole", fetchedOffsets(resp))
		default:
			expectList(t, "group", fetchedGroups(resp), "g 16")
		}
		expectList(t, "commit", committedCodes(call[*kmsg.OffsetCommitResponse](w, v, committing("g", "t/0=1", "x/0=1"))), "t/0 16", "x/0 3")
	}
}

func TestDeleteOffsets(t *testing.T) {
	w := newGroupWorld(t)
	w.lead("t", 3, 0)
	w.lead("u", 1, 0)
	deleting := func(group string, offsets ...string) (int16, []string) {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		for _, t := range committing(group, offsets...).Topics {
			out := kmsg.OffsetDeleteRequestTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p.Partition})
			}
			req.Topics = append(req.Topics, out)
		}
		resp := call[*kmsg.OffsetDeleteResponse](w, 0, req)
		var codes []string
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				codes = append(codes, fmt.Sprintf("%s/%d %d", t.Topic, p.Partition, p.ErrorCode))
			}
		}
		return resp.ErrorCode, codes
	}
	call[*kmsg.OffsetCommitResponse](w, 9, committing("g", "t/0=1", "t/1=1"))
	code, codes := deleting("g", "t/0", "t/7", "x/0", "t/2")
	w.expect("some", code, nil)
	expectList(t, "some", codes, "t/0 0", "t/7 3", "x/0 3", "t/2 0")
	expectList(t, "left", fetchedOffsets(call[*kmsg.OffsetFetchResponse](w, 7, fetching("g"))), "t/1 1 0")
	for group, want := range map[string]error{"": kerr.InvalidGroupID, "nobody": kerr.GroupIDNotFound} {
		code, codes := deleting(group, "t/0")
		w.expect(group, code, want)
		expectList(t, group, codes)
	}
	// Members keep what they have subscribed to.
	req := joining("s", "")
	req.Protocols[0].Metadata = []byte("\x00\x00\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff")
	w.expect("join", call[*kmsg.JoinGroupResponse](w, 3, req).ErrorCode, nil)
	code, codes = deleting("s", "t/0", "u/0")
	w.expect("subscribed", code, nil)
	expectList(t, "subscribed", codes, "t/0 86", "u/0 0")
}

// However often a request names a group, the response does not become much larger than
// what the group has.
func TestFetchedAgain(t *testing.T) {
	w := newGroupWorld(t)
	const partitions = 1000
	w.lead("t", partitions, 0)
	var offsets []string
	for i := range partitions {
		offsets = append(offsets, fmt.Sprintf("t/%d=1", i))
	}
	call[*kmsg.OffsetCommitResponse](w, 9, committing("g", offsets...))
	req := fetching("g")
	for range 999 {
		req.Groups = append(req.Groups, req.Groups[0])
	}
	told, refused := 0, 0
	for _, g := range call[*kmsg.OffsetFetchResponse](w, 9, req).Groups {
		if g.ErrorCode == kerr.InvalidRequest.Code {
			refused++
		}
		for _, t := range g.Topics {
			told += len(t.Partitions)
		}
	}
	if told < maxOffsetsAgain || told > maxOffsetsAgain+partitions || refused < 900 {
		t.Errorf("%d offsets, %d groups refused", told, refused)
	}
}
