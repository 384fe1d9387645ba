package group

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/memlog"
)

// What is not confirmed of one partition says nothing of the groups of others; those that
// are elsewhere are not asked about. Partitions are asked about at the same time.
func TestConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		l := newLab(t, log)
		defer l.stop()
		l.leads(0, 5)
		l.leads(1, 5)
		here, there := groupIn(0), groupIn(1)
		doubts := map[int32]error{}
		log.Doubt = func(_ context.Context, partition int32) error {
			time.Sleep(confirmTimeout / 2)
			return doubts[partition]
		}
		begun := time.Now()
		if unsure := l.c.Confirm(t.Context(), here, there, here); len(unsure) != 0 || time.Since(begun) != confirmTimeout/2 {
			t.Errorf("after %v: %v", time.Since(begun), unsure)
		}
		doubts[1] = errors.New("nobody answers")
		if unsure := l.c.Confirm(t.Context(), here, there); len(unsure) != 1 || unsure[there] != error(kerr.NotCoordinator) {
			t.Errorf("unsure of %v", unsure)
		}
		l.follows(1, 6)
		if unsure := l.c.Confirm(t.Context(), there); len(unsure) != 0 {
			t.Errorf("unsure of %v, which are known to be elsewhere", unsure)
		}
		log.Doubt = func(ctx context.Context, _ int32) error {
			<-ctx.Done()
			return ctx.Err()
		}
		begun = time.Now()
		if unsure := l.c.Confirm(t.Context(), here); len(unsure) != 1 || time.Since(begun) != confirmTimeout {
			t.Errorf("after %v unsure of %v", time.Since(begun), unsure)
		}
	})
}

// Nothing is served that other replicas may not have yet.
func TestLoadWaitsForReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		l := newLab(t, log)
		defer l.stop()
		log.Hold(true)
		l.leads(0, 5)
		synctest.Wait()
		_, err := l.c.FetchOffsets(nil, groupIn(0), nil)
		is(t, "before they have it", err, kerr.CoordinatorLoadInProgress)
		log.Acknowledge(nil, false)
		synctest.Wait()
		_, err = l.c.FetchOffsets(nil, groupIn(0), nil)
		is(t, "when they have it", err, nil)
	})
}
