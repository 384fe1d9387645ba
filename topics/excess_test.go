package topics_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
	"github.com/twmb/franz-go/pkg/kerr"
)

// The partitions of one request are bounded together, before anything is made for
// them; what comes before the bound is done.
func TestExcessivePartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := newLab(t, zkserver.NewMemStore(), nil)
		defer stop()
		create := func(counts ...int32) (errs []error) {
			var requests []topics.CreateRequest
			for i, n := range counts {
				requests = append(requests, topics.CreateRequest{Name: string(rune('a' + i)), Partitions: n, ReplicationFactor: 1})
			}
			for _, r := range l.topics.Create(t.Context(), requests, time.Minute, true) {
				errs = append(errs, r.Err)
			}
			return errs
		}
		if err := create(1<<31 - 1)[0]; !errors.Is(err, kerr.PolicyViolation) {
			t.Errorf("two billion partitions: %v", err)
		}
		if errs := create(5000, 5000, 1, -1); errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], kerr.PolicyViolation) || !errors.Is(errs[3], kerr.PolicyViolation) {
			t.Errorf("10,002 partitions: %v", errs)
		}
		err := l.topics.Expand(t.Context(), []topics.ExpandRequest{{Name: "none", Count: 1<<31 - 1}}, time.Minute, true)[0]
		if !errors.Is(err, kerr.PolicyViolation) {
			t.Errorf("expanded by two billion: %v", err)
		}
	})
}
