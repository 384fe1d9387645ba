package replica

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

func consume(change ...func(*ReadRequest)) ReadRequest {
	r := readAll
	for _, c := range change {
		c(&r)
	}
	return r
}

func from(offset int64) func(*ReadRequest)   { return func(r *ReadRequest) { r.Offset = offset } }
func asFollower(id int32) func(*ReadRequest) { return func(r *ReadRequest) { r.ReplicaID = id } }
func inEpoch(e int32) func(*ReadRequest)     { return func(r *ReadRequest) { r.CurrentLeaderEpoch = e } }
func lastFetched(e int32) func(*ReadRequest) { return func(r *ReadRequest) { r.LastFetchedEpoch = e } }
func committed(r *ReadRequest)               { r.ReadCommitted = true }
func followerAllowed(r *ReadRequest)         { r.FollowerAllowed = true }
func limit(n int32, minOne bool) func(*ReadRequest) {
	return func(r *ReadRequest) { r.MaxBytes, r.MinOne = n, minOne }
}

// offsetsOf lists the base offsets of the batches read.
func offsetsOf(t *testing.T, r *ReadResult) (bases []int64) {
	t.Helper()
	b := bytesOf(t, &r.Range)
	for len(b) > 0 {
		batch, rest, err := record.Next(b)
		if errors.Is(err, record.ErrTruncated) {
			return bases
		} else if err != nil {
			t.Fatal(err)
		}
		bases = append(bases, batch.BaseOffset())
		b = rest
	}
	return bases
}

// TestReadBounds: records 0 to 9 are committed, 10 and 11 are only here, for
// follower 2 has not fetched them.
func TestReadBounds(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	for i := range int64(5) {
		mustAppend(t, p, produce, batch(t, i, 2))
	}
	w.leads(t0, 6, 1, 2)
	mustAppend(t, p, produce, batch(t, 9, 2))
	size := int32(len(batch(t, 9, 2)))
	for _, c := range []struct {
		name    string
		req     ReadRequest
		batches []int64
		err     error
	}{
		{"from the start", consume(), []int64{0, 2, 4, 6, 8}, nil},
		{"from the middle", consume(from(4)), []int64{4, 6, 8}, nil},
		{"from inside a batch", consume(from(5)), []int64{4, 6, 8}, nil},
		{"at the high watermark", consume(from(10)), nil, nil},
		{"between high watermark and end", consume(from(11)), nil, nil},
		{"at the end", consume(from(12)), nil, nil},
		{"beyond the end", consume(from(13)), nil, kerr.OffsetOutOfRange},
		{"negative offset", consume(from(-1)), nil, kerr.OffsetOutOfRange},
		{"two batches", consume(limit(2*size, false)), []int64{0, 2}, nil},
		{"one batch and a part", consume(limit(2*size-1, false)), []int64{0}, nil},
		{"less than a batch", consume(limit(1, false)), nil, nil},
		{"less than a batch, but one at least", consume(limit(1, true)), []int64{0}, nil},
		{"follower", consume(asFollower(2)), []int64{0, 2, 4, 6, 8, 10}, nil},
		{"follower at the end", consume(asFollower(2), from(12)), nil, nil},
		{"follower that is no replica", consume(asFollower(3)), nil, kerr.NotLeaderForPartition},
		{"follower that is no replica in this epoch", consume(asFollower(3), inEpoch(6)), nil, kerr.UnknownLeaderEpoch},
		{"current epoch", consume(inEpoch(6)), []int64{0, 2, 4, 6, 8}, nil},
		{"older epoch", consume(inEpoch(5)), nil, kerr.FencedLeaderEpoch},
		{"newer epoch", consume(inEpoch(7)), nil, kerr.UnknownLeaderEpoch},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := p.Read(c.req)
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err != nil {
				if r.HighWatermark != -1 || r.LastStableOffset != -1 || r.LogStart != -1 || r.LogEnd != -1 || r.Diverging.Epoch != -1 {
					t.Errorf("offsets with an error: %+v", r)
				}
				return
			}
			if r.HighWatermark != 10 || r.LastStableOffset != 10 || r.LogStart != 0 || r.LogEnd != 12 || r.Diverging.Epoch != -1 {
				t.Errorf("%+v", r)
			}
			if got := offsetsOf(t, &r); !equal(got, c.batches) {
				t.Errorf("batches %v, want %v", got, c.batches)
			}
		})
	}
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestReadFromFollower(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	mustAppend(t, p, produce, batch(t, 1, 2))
	w.apply(change(epoch(6), version(6), leader(2)))
	if _, err := p.Read(consume()); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("consumer: %v", err)
	}
	if _, err := p.Read(consume(followerAllowed, asFollower(2))); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("follower: %v", err)
	}
	r, err := p.Read(consume(followerAllowed))
	if err != nil || !equal(offsetsOf(t, &r), []int64{0}) {
		t.Errorf("consumer that may read from followers: %v", err)
	}
}

func TestReadCommitted(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	append := func(req AppendRequest, b []byte) { mustAppend(t, p, req, b) }
	marker := func(pid int64, commit bool) {
		req := AppendRequest{Origin: record.Coordinator, LedSince: 5, Acks: AcksAll}
		append(req, record.EndTxnMarker(pid, 0, 1, commit, 1))
	}
	append(produce, batch(t, 1, 1, producer(1, 0, 0), transactional)) // 0
	append(produce, batch(t, 1, 1))                                   // 1
	append(produce, batch(t, 1, 1, producer(2, 0, 0), transactional)) // 2
	read := func(req ReadRequest, lso int64, batches []int64, aborted ...commitlog.AbortedTxn) {
		t.Helper()
		r, err := p.Read(req)
		if err != nil || r.LastStableOffset != lso || r.Aborted == nil || len(r.Aborted) != len(aborted) {
			t.Fatalf("%+v, %v", r, err)
		}
		for i, a := range aborted {
			if got := r.Aborted[i]; got.ProducerID != a.ProducerID || got.FirstOffset != a.FirstOffset {
				t.Errorf("aborted %+v, want %+v", r.Aborted, aborted)
			}
		}
		if got := offsetsOf(t, &r); !equal(got, batches) {
			t.Errorf("batches %v, want %v", got, batches)
		}
	}
	read(consume(committed), 0, nil)
	marker(1, false) // 3
	read(consume(committed), 2, []int64{0, 1}, commitlog.AbortedTxn{ProducerID: 1, FirstOffset: 0})
	marker(2, true) // 4
	read(consume(committed), 5, []int64{0, 1, 2, 3, 4}, commitlog.AbortedTxn{ProducerID: 1, FirstOffset: 0})
	read(consume(committed, from(4)), 5, []int64{4})
	if r, err := p.Read(consume()); err != nil || r.Aborted != nil || len(offsetsOf(t, &r)) != 5 {
		t.Errorf("read_uncommitted: %+v, %v", r, err)
	}
}

// TestDivergence: epoch 5 has records 0 and 1, epoch 7 has 2 and 3.
func TestDivergence(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	mustAppend(t, p, produce, batch(t, 1, 2))
	w.leads(t0, 7, 1, 2)
	mustAppend(t, p, produce, batch(t, 1, 2))
	for _, c := range []struct {
		name string
		req  ReadRequest
		want Divergence
		err  error
	}{
		{"same history", consume(asFollower(2), from(2), lastFetched(5)), Divergence{-1, -1}, nil},
		{"same history, newest epoch", consume(asFollower(2), from(4), lastFetched(7)), Divergence{-1, -1}, nil},
		{"consumers, too", consume(from(3), lastFetched(5)), Divergence{5, 2}, nil},
		{"too much of an epoch", consume(asFollower(2), from(3), lastFetched(5)), Divergence{5, 2}, nil},
		{"an epoch that is not known", consume(asFollower(2), from(3), lastFetched(6)), Divergence{5, 2}, nil},
		{"a future epoch", consume(asFollower(2), from(3), lastFetched(8)), Divergence{}, kerr.OffsetOutOfRange},
		{"an epoch before all", consume(asFollower(2), from(0), lastFetched(3)), Divergence{-1, -1}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := p.Read(c.req)
			if !errors.Is(err, c.err) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			if r.Diverging != c.want || c.want.Epoch >= 0 && r.Range.Len > 0 {
				t.Errorf("%+v, %d bytes; want %+v", r.Diverging, r.Range.Len, c.want)
			}
			r.Range.Release()
		})
	}
}

// TestDivergenceBelowTheStart: where the log begins above the offset, that is the
// answer, whatever the epochs.
func TestDivergenceBelowTheStart(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5, 1)
	mustAppend(t, p, produce, batch(t, 1, 5))
	w.leads(t0, 7)
	if _, _, err := p.DeleteRecords(4); err != nil {
		t.Fatal(err)
	}
	w.leads(t0, 8, 1, 2)
	if _, err := p.Read(consume(asFollower(2), from(3), lastFetched(6))); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Error(err)
	}
}

func TestListOffsets(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	mustAppend(t, p, produce, batch(t, 100, 3))                                   // 0 to 2
	mustAppend(t, p, produce, batch(t, 500, 2))                                   // 3, 4
	mustAppend(t, p, produce, batch(t, 300, 2, producer(1, 0, 0), transactional)) // 5, 6: LSO 5
	if _, _, err := p.DeleteRecords(1); err != nil {
		t.Fatal(err)
	}
	w.leads(t0, 6, 1, 2)
	mustAppend(t, p, produce, batch(t, 900, 1)) // 7, not committed
	client := func(ts int64) ListOffsetsRequest {
		return ListOffsetsRequest{Timestamp: ts, CurrentLeaderEpoch: NoEpoch, Client: true}
	}
	stable := func(ts int64) ListOffsetsRequest { r := client(ts); r.ReadCommitted = true; return r }
	broker := func(ts int64) ListOffsetsRequest { r := client(ts); r.Client = false; return r }
	for _, c := range []struct {
		name string
		req  ListOffsetsRequest
		want ListedOffset
		err  error
	}{
		{"latest", client(Latest), ListedOffset{7, -1, 6}, nil},
		{"latest stable", stable(Latest), ListedOffset{5, -1, 6}, nil},
		{"latest for a broker", broker(Latest), ListedOffset{8, -1, 6}, nil},
		{"earliest", client(Earliest), ListedOffset{1, -1, 5}, nil},
		{"earliest local", client(EarliestLocal), ListedOffset{1, -1, 5}, nil},
		{"latest tiered", client(LatestTiered), ListedOffset{-1, -1, -1}, nil},
		{"max timestamp is not committed", client(MaxTimestamp), ListedOffset{-1, -1, -1}, nil},
		{"max timestamp for a broker", broker(MaxTimestamp), ListedOffset{7, 900, 6}, nil},
		{"by time", client(101), ListedOffset{1, 101, 5}, nil},
		{"by time, deleted", client(0), ListedOffset{1, 101, 5}, nil},
		{"by time, between", client(103), ListedOffset{3, 500, 5}, nil},
		{"by time, not committed", client(600), ListedOffset{-1, -1, -1}, nil},
		{"by time, for a broker", broker(600), ListedOffset{7, 900, 6}, nil},
		{"by time, too late", broker(901), ListedOffset{-1, -1, -1}, nil},
		{"current epoch", ListOffsetsRequest{Timestamp: Latest, CurrentLeaderEpoch: 6}, ListedOffset{8, -1, 6}, nil},
		{"older epoch", ListOffsetsRequest{Timestamp: Latest, CurrentLeaderEpoch: 5}, noListedOffset, kerr.FencedLeaderEpoch},
		{"newer epoch", ListOffsetsRequest{Timestamp: Latest, CurrentLeaderEpoch: 7}, noListedOffset, kerr.UnknownLeaderEpoch},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := p.ListOffsets(c.req); got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestOffsetsBefore(t *testing.T) {
	w := newWorld(t)
	w.configure("t", func(c *config.Topic) { c.SegmentBytes = 100 })
	p := w.leads(t0, 5)
	for range 2 {
		mustAppend(t, p, produce, batch(t, 100, 2)) // 0 and 2, a segment each
	}
	if _, _, err := p.DeleteRecords(1); err != nil {
		t.Fatal(err)
	}
	w.leads(t0, 6, 1, 2)
	for range 2 {
		mustAppend(t, p, produce, batch(t, 100, 2)) // 4 and 6, not committed: the high watermark is 4
	}
	client := func(ts int64) ListOffsetsRequest {
		return ListOffsetsRequest{Timestamp: ts, CurrentLeaderEpoch: NoEpoch, Client: true}
	}
	broker := func(ts int64) ListOffsetsRequest { r := client(ts); r.Client = false; return r }
	future := time.Now().Add(time.Hour).UnixMilli()
	for _, c := range []struct {
		name  string
		req   ListOffsetsRequest
		limit int
		want  []int64
	}{
		{"latest for a broker", broker(Latest), 10, []int64{8, 6, 4, 2, 1}},
		{"latest", client(Latest), 10, []int64{4, 4, 2, 1}}, // 4 is the high watermark and a segment's base
		{"latest, as many as are above", client(Latest), 2, []int64{4}},
		{"latest, one", client(Latest), 1, []int64{4}},
		{"latest, none", client(Latest), 0, nil},
		{"earliest", client(Earliest), 10, []int64{1}},
		{"earliest, none", client(Earliest), 0, nil},
		{"future", client(future), 3, []int64{4, 4}},
		{"past", client(0), 10, nil},
	} {
		if got, err := p.OffsetsBefore(c.req, c.limit); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	w.apply(change(epoch(7), version(7), leader(2)))
	if _, err := p.OffsetsBefore(client(Latest), 1); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("follower: %v", err)
	}
	debug := client(Latest)
	debug.FollowerAllowed = true
	if got, err := p.OffsetsBefore(debug, 1); err != nil || len(got) != 1 {
		t.Errorf("follower, debugging: %v, %v", got, err)
	}
}

// TestOffsetNotAvailable: a new leader has records that it does not know to be
// committed yet; the latest offset could go back.
func TestOffsetNotAvailable(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5, 1, 2)
	mustAppend(t, p, produce, batch(t, 100, 3))
	w.leads(t0, 6, 1, 2)
	ask := func(ts int64, client bool) error {
		_, err := p.ListOffsets(ListOffsetsRequest{Timestamp: ts, CurrentLeaderEpoch: NoEpoch, Client: client})
		return err
	}
	for _, c := range []struct {
		ts     int64
		client bool
		err    error
	}{
		{Latest, true, kerr.OffsetNotAvailable}, {Latest, false, nil}, {Earliest, true, nil}, {101, true, kerr.OffsetNotAvailable}, {101, false, nil}, {MaxTimestamp, true, kerr.OffsetNotAvailable},
	} {
		if err := ask(c.ts, c.client); !errors.Is(err, c.err) {
			t.Errorf("timestamp %d, client %v: %v, want %v", c.ts, c.client, err, c.err)
		}
	}
}

func TestDeleteRecords(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	mustAppend(t, p, produce, batch(t, 1, 10))
	w.leads(t0, 6, 1, 2)
	mustAppend(t, p, produce, batch(t, 1, 2)) // not committed
	var watcher recorder
	p.Watch(&watcher, 4, allMoves)
	for _, c := range []struct {
		offset      int64
		target, low int64
		err         error
	}{
		{3, 3, -1, nil}, {2, 2, -1, nil}, {11, -1, -1, kerr.OffsetOutOfRange}, {-2, -1, -1, kerr.OffsetOutOfRange}, {HighWatermark, 10, -1, nil},
	} {
		target, low, err := p.DeleteRecords(c.offset)
		if target != c.target || low != c.low || !errors.Is(err, c.err) {
			t.Errorf("below %d: %d, %d, %v; want %d, %d, %v", c.offset, target, low, err, c.target, c.low, c.err)
		}
		if told := len(watcher.take()) > 0; told != (err == nil) {
			t.Errorf("below %d: the watcher was told: %v", c.offset, told)
		}
	}
	req := fetchOf(2, 10, -1)
	req.Follower.LogStart = 4
	mustRead(t, p, req)
	if _, low, err := p.DeleteRecords(HighWatermark); low != 4 || err != nil {
		t.Errorf("with a follower that begins at 4: %d, %v", low, err)
	}
	if _, err := p.Read(consume(from(9))); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Errorf("read of what was deleted: %v", err)
	}
	w.configure("t", func(c *config.Topic) { c.Delete, c.Compact = false, true })
	if _, _, err := p.DeleteRecords(10); !errors.Is(err, kerr.PolicyViolation) {
		t.Errorf("compacted topic: %v", err)
	}
	w.apply(change(epoch(7), version(7), leader(2)))
	if _, _, err := p.DeleteRecords(10); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("follower: %v", err)
	}
	offsets := t0
	offsets.Topic = "__consumer_offsets"
	if _, _, err := w.leads(offsets, 1).DeleteRecords(0); !errors.Is(err, kerr.InvalidTopicException) {
		t.Errorf("internal topic: %v", err)
	}
}
