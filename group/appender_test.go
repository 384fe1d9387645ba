package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/replica"
)

// Commits that wait share one append, and are answered when it is acknowledged.
func TestCommitsShareAnAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		log.Hold(true)
		first := l.commit(commitOf(g, 1, 1))
		var others []<-chan struct{}
		for i := range int64(10) {
			others = append(others, l.commit(commitOf(g, 2+i)))
		}
		synctest.Wait()
		if isDone(first) || log.Held() != 1 {
			t.Fatalf("%d appends are waited for, answered %v", log.Held(), isDone(first))
		}
		l.expect(g, "")
		if got, _ := l.c.FetchOffsets(nil, g, []protocol.TopicPartition{{Topic: "t"}}); !got[0].Unstable || got[0].Offset != -1 {
			t.Errorf("fetched %+v", got)
		}
		log.Acknowledge(nil, true)
		synctest.Wait()
		l.expect(g, "t-0=1? t-1=1")
		if !isDone(first) || isDone(others[0]) {
			t.Error("the first commit is not done, or another one is")
		}
		log.Acknowledge(nil, false)
		synctest.Wait()
		for _, done := range others {
			if !isDone(done) {
				t.Error("not done")
			}
		}
		l.expect(g, "t-0=11 t-1=1")
		if got := batchSizes(log, 1); !slices.Equal(got, []int32{2, 10}) {
			t.Errorf("batches of %v records", got)
		}
	})
}

// What does not fit into a batch goes into the next; what is too large alone is
// compressed, and refused only if that does not help.
func TestBatchesHaveALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		log.MaxBatch = 500
		l := newLab(t, log)
		defer l.stop()
		l.leads(1, 5)
		synctest.Wait()
		g := groupIn(1)
		log.Hold(true)
		l.commit(commitOf(g, 1))
		var all []<-chan struct{}
		for i := range int64(10) {
			all = append(all, l.commit(commitOf(g, 2+i)))
		}
		large := commitOf(g, 99)
		large.Offsets[0].Metadata = strings.Repeat("x", 1000)
		all = append(all, l.commit(large))
		log.Acknowledge(nil, false)
		synctest.Wait()
		for _, done := range all {
			if !isDone(done) {
				t.Error("not done")
			}
		}
		is(t, "a large commit", large.Offsets[0].Err, nil)
		l.expect(g, "t-0=99")
		sizes := batchSizes(log, 1)
		if len(sizes) < 4 || slices.Max(sizes) > 9 {
			t.Errorf("batches of %v records", sizes)
		}
		if b := log.Batches(1); b[len(b)-1].Codec() != record.Zstd || b[0].Codec() != record.None {
			t.Error("the large batch is not compressed, or a small one is")
		}
		log.MaxBatch = 70
		<-l.commit(large)
		is(t, "too large a commit", large.Offsets[0].Err, kerr.InvalidCommitOffsetSize)
		// Another coordinator reads them all.
		l.follows(1, 6)
		l.leads(1, 7)
		synctest.Wait()
		l.expect(g, "t-0=99")
	})
}

// An append that is not acknowledged in time has ended for who waits for it.
func TestCommitTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		log.Hold(true)
		c, next := commitOf(g, 1), commitOf(g, 2)
		began := time.Now()
		done := l.commit(c)
		nextDone := l.commit(next)
		<-done
		is(t, "commit", c.Offsets[0].Err, kerr.RequestTimedOut)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("timed out after %v", took)
		}
		synctest.Wait()
		log.Acknowledge(nil, false) // both
		<-nextDone
		is(t, "commit", next.Offsets[0].Err, nil)
		is(t, "commit", c.Offsets[0].Err, kerr.RequestTimedOut)
		l.expect(g, "t-0=2")
	})
}

// The log's refusal reaches who commits, and changes nothing.
func TestCommitRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		<-l.commit(commitOf(g, 1))
		log.Refuse(fmt.Errorf("wrapped: %w", kerr.NotEnoughReplicas))
		c := commitOf(g, 2)
		<-l.commit(c)
		is(t, "commit", c.Offsets[0].Err, kerr.CoordinatorNotAvailable)
		l.expect(g, "t-0=1")
	})
}

// What was not sent when the leadership ended is not sent any more.
func TestCommitMeetsResignation(t *testing.T) {
	for _, while := range []string{"the limit is asked for", "the batch is made"} {
		synctest.Test(t, func(t *testing.T) {
			log := memlog.New()
			l := newLab(t, log)
			defer l.stop()
			l.leads(1, 5)
			synctest.Wait()
			ended := 0
			end := func() {
				ended++
				l.c.RoleChanged(role(1, replica.Follower, 6, replica.LeaderAndISR))
			}
			for _, p := range l.c.led.All() {
				if while == "the batch is made" {
					encode := p.appender.Encode
					p.appender.Encode = func(writes []queued, maxBytes int) (record.Batch, error) {
						end()
						return encode(writes, maxBytes)
					}
				} else {
					log.Asked = end
				}
			}
			c := commitOf(groupIn(1), 1)
			<-l.commit(c)
			is(t, "commit", c.Offsets[0].Err, kerr.NotCoordinator)
			if got := batchSizes(log, 1); len(got) > 0 || ended != 1 {
				t.Errorf("while %s: batches of %v records, the leadership has ended %d times", while, got, ended)
			}
		})
	}
}

// A group whose partition has just been taken away does not write.
func TestCommitAfterResignation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		l := newLab(t, log)
		defer l.stop()
		l.leads(1, 5)
		synctest.Wait()
		for _, p := range l.c.led.All() {
			p.appender.Close()
		}
		c := commitOf(groupIn(1), 1)
		<-l.commit(c)
		is(t, "commit", c.Offsets[0].Err, kerr.NotCoordinator)
		if got := batchSizes(log, 1); len(got) > 0 {
			t.Errorf("batches of %v records", got)
		}
	})
}
