package replica

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
)

// fetchOf is a follower's fetch that says where it is.
func fetchOf(id int32, offset int64, brokerEpoch int64) ReadRequest {
	return ReadRequest{ReplicaID: id, Offset: offset, MaxBytes: 1 << 20, CurrentLeaderEpoch: NoEpoch, LastFetchedEpoch: NoEpoch,
		Follower: FollowerState{BrokerEpoch: brokerEpoch, New: true}}
}

func mustRead(t testing.TB, p *Partition, req ReadRequest) ReadResult {
	t.Helper()
	res, err := p.Read(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Range.Release()
	return res
}

// A follower's offset says what it has: with all of the ISR's, the high watermark
// moves, produces are answered, and the follower hears of it in the same response.
func TestFollowersMoveTheHighWatermark(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 0, self, 2, 3)
	res := mustAppend(t, p, produceAll(), batch(t, 1000, 4))
	var answers []error
	if _, done := p.NotifyAt(res.LastOffset+1, res.LeaderEpoch, func(err error) { answers = append(answers, err) }); done {
		t.Fatal("committed without followers")
	}
	log, _ := p.Log()
	for _, step := range []struct {
		req  ReadRequest
		want int64
	}{
		{fetchOf(2, 4, -1), 0},
		{fetchOf(3, 0, -1), 0},
		{fetchOf(3, 4, -1), 4},
	} {
		if res := mustRead(t, p, step.req); res.HighWatermark != step.want || log.HighWatermark() != step.want {
			t.Errorf("broker %d at %d: the response says %d, the high watermark is %d; want %d", step.req.ReplicaID, step.req.Offset, res.HighWatermark, log.HighWatermark(), step.want)
		}
	}
	if len(answers) != 1 || answers[0] != nil {
		t.Errorf("answers %v", answers)
	}
}

// What is no news tells nothing about the follower: the broker that asked may have
// restarted with less since.
func TestRepeatedLooksTellNothing(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 0, self, 2)
	mustAppend(t, p, produce, batch(t, 1000, 4))
	req := fetchOf(2, 4, -1)
	req.Follower.New = false
	if res := mustRead(t, p, req); res.HighWatermark != 0 {
		t.Errorf("high watermark %d", res.HighWatermark)
	}
}

// A fetch of an earlier incarnation of the follower is refused.
func TestFetchOfAnEarlierRegistration(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 0, self, 2)
	mustAppend(t, p, produce, batch(t, 1000, 4))
	mustRead(t, p, fetchOf(2, 0, 70))
	if _, err := p.Read(fetchOf(2, 4, 69)); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("error %v", err)
	}
	log, _ := p.Log()
	if hw := log.HighWatermark(); hw != 0 {
		t.Errorf("high watermark %d", hw)
	}
	if res := mustRead(t, p, fetchOf(2, 4, 70)); res.HighWatermark != 4 {
		t.Errorf("high watermark %d", res.HighWatermark)
	}
}

// Neither an offset that the leader does not have, nor a log that parts from the
// leader's, is progress.
func TestWhatIsNoProgress(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 3, self, 2)
	mustAppend(t, p, produce, batch(t, 1000, 4))
	log, _ := p.Log()
	if _, err := p.Read(fetchOf(2, 5, -1)); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Errorf("error %v", err)
	}
	req := fetchOf(2, 4, -1)
	req.LastFetchedEpoch = 2
	if res := mustRead(t, p, req); res.Diverging.Epoch < 0 {
		t.Errorf("logs of epochs 2 and 3 agree: %+v", res)
	}
	if hw := log.HighWatermark(); hw != 0 {
		t.Errorf("high watermark %d", hw)
	}
}

// What followers had when they followed another epoch is forgotten.
func TestNewEpochForgetsProgress(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 0, self, 2)
	mustAppend(t, p, produce, batch(t, 1000, 4))
	mustRead(t, p, fetchOf(2, 4, -1))
	w.leads(t0, 1, self, 2)
	mustAppend(t, p, produce, batch(t, 1000, 4))
	log, _ := p.Log()
	if hw := log.HighWatermark(); hw != 4 {
		t.Errorf("high watermark %d", hw)
	}
	mustRead(t, p, fetchOf(2, 8, -1))
	if hw := log.HighWatermark(); hw != 8 {
		t.Errorf("high watermark %d", hw)
	}
}

// With flush.messages=1 the leader's own log counts as far as it is on the disk.
func TestHighWatermarkWaitsForTheDisk(t *testing.T) {
	w := newWorld(t)
	w.configure("t", func(c *config.Topic) { c.FlushMessages = 1 })
	p := w.leads(t0, 0, self, 2)
	if _, err := p.Append(batch(t, 1000, 4), produceAll()); err != nil {
		t.Fatal(err)
	}
	if res := mustRead(t, p, fetchOf(2, 4, -1)); res.HighWatermark != 0 {
		t.Errorf("high watermark %d before the fsync", res.HighWatermark)
	}
	log, _ := p.Log()
	if err := log.Sync(4); err != nil {
		t.Fatal(err)
	}
	p.localMoved()
	if hw := log.HighWatermark(); hw != 4 {
		t.Errorf("high watermark %d after it", hw)
	}
}
