package txn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		l.leads(0, 1)
		synctest.Wait()
		open, ended, fresh := x, idIn(0), x+"a"
		l.decided(ended, "t-0")
		pid, epoch := l.producer(open)
		began := time.Now().UnixMilli()
		is(t, "add", <-l.add(open, pid, epoch, "t-1"), nil)
		time.Sleep(5 * time.Second)
		l.producer(fresh)
		l.log.Hold(true)
		l.init(fromNothing(x + "nobody knows")) // is not in the log yet
		all := Filter{AnyState: true, LongerMS: -1}
		for what, c := range map[string]struct {
			change func(*Filter)
			want   []string
		}{
			"all":            {func(*Filter) {}, []string{open, ended, fresh}},
			"a state":        {func(f *Filter) { f.AnyState, f.States = false, []State{Ongoing, PrepareAbort} }, []string{open}},
			"unknown states": {func(f *Filter) { f.AnyState = false }, nil},
			"a producer":     {func(f *Filter) { f.ProducerIDs = []int64{pid, 99} }, []string{open}},
			"for long":       {func(f *Filter) { f.LongerMS = 4999 }, []string{open, ended, fresh}},
			"not for long":   {func(f *Filter) { f.LongerMS = 5000 }, []string{fresh}}, // which has not begun
		} {
			f := all
			c.change(&f)
			list, err := l.c.List(f)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range list {
				got = append(got, e.ID)
			}
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q", what, got, c.want)
			}
		}
		list, _ := l.c.List(all)
		for _, e := range list {
			if e.ID == open && (e.State != Ongoing || e.ProducerID != pid) {
				t.Errorf("%+v", e)
			}
		}
		if s := l.c.Stats(); s.OldestStartMS != began || s.IDs[Ongoing] != 1 || s.IDs[Empty] != 1 || s.IDs[CompleteCommit] != 1 {
			t.Errorf("%+v", s)
		}
		l.log.Acknowledge(nil, false)
		is(t, "abort", <-l.end(open, pid, epoch, false), nil)
		synctest.Wait()
		if s := l.c.Stats(); s.OldestStartMS != -1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestStates(t *testing.T) {
	for s := Empty; s <= PrepareEpochFence; s++ {
		if got, ok := ParseState(s.String()); !ok || got != s {
			t.Errorf("%v is %v, %v", s, got, ok)
		}
	}
	if _, ok := ParseState("ongoing"); ok {
		t.Error("ongoing is a state")
	}
	if got := fmt.Sprint(State(-1), State(8)); !strings.Contains(got, "-1") || !strings.Contains(got, "8") {
		t.Error(got)
	}
}
