package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetsPartitions is the number of partitions of __consumer_offsets.
const offsetsPartitions = 50

// offsetsPartition is the one that has the offsets of a group: the hash of its name as a
// Java string tells. The name must be ASCII.
func offsetsPartition(group string) int {
	var hash int32
	for _, c := range []byte(group) {
		hash = 31*hash + int32(c)
	}
	return int(hash&0x7fffffff) % offsetsPartitions
}

// oneOfEach returns one of the groups for each partition of __consumer_offsets that has
// any of them.
func oneOfEach(groups []string) []string {
	var some []string
	var seen [offsetsPartitions]bool
	for _, group := range groups {
		if p := offsetsPartition(group); !seen[p] {
			seen[p] = true
			some = append(some, group)
		}
	}
	return some
}

// untilCoordinated has __consumer_offsets made, if it is not there, and waits until
// groups in all of its partitions are told their offsets, want of each.
func untilCoordinated(addr string, groups []string, want int) error {
	w, err := dial(addr)
	if err != nil {
		return err
	}
	defer w.close()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = groups[:1]
	err = w.insist(func() (int16, error) {
		answer, err := w.ask(find)
		if err != nil {
			return 0, err
		}
		return answer.(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode, nil
	})
	if err != nil {
		return fmt.Errorf("find a coordinator: %w", err)
	}
	for _, group := range oneOfEach(groups) {
		if err := w.offsetsOf(group, want); err != nil {
			return err
		}
	}
	return nil
}

// offsetsOf waits until a group's coordinator tells all of its offsets.
func (w *wire) offsetsOf(group string, want int) error {
	request := kmsg.NewPtrOffsetFetchRequest()
	of := kmsg.NewOffsetFetchRequestGroup()
	of.Group = group
	request.Groups = append(request.Groups, of)
	has := 0
	err := w.insist(func() (int16, error) {
		answer, err := w.ask(request)
		if err != nil {
			return 0, err
		}
		its := answer.(*kmsg.OffsetFetchResponse).Groups[0]
		has = 0
		for _, t := range its.Topics {
			has += len(t.Partitions)
		}
		return its.ErrorCode, nil
	})
	if err == nil && has != want {
		err = fmt.Errorf("there are %d instead of %d", has, want)
	}
	if err != nil {
		return fmt.Errorf("fetch the offsets of group %s: %w", group, err)
	}
	return nil
}

// insist asks again as long as the answer is that the coordinator is not there yet.
func (w *wire) insist(ask func() (code int16, err error)) error {
	for deadline := time.Now().Add(loadLimit); ; time.Sleep(2 * time.Millisecond) {
		code, err := ask()
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(code)
		waits := errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress) || errors.Is(err, kerr.NotCoordinator)
		if !waits || time.Now().After(deadline) {
			return err
		}
	}
}

// groupNames are the names of n groups.
func groupNames(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return names
}
