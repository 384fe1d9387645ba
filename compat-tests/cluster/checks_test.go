package cluster

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestWatchFinds has the watch find a second leader in an epoch.
func TestWatchFinds(t *testing.T) {
	w := &watch{leaders: map[reign]int32{}}
	w.leads(1, reign{3, 7})
	w.leads(1, reign{3, 7})
	w.leads(2, reign{3, 8})
	if len(w.wrong) > 0 || w.epochs[3] != 8 {
		t.Errorf("nothing was wrong: %q, epoch %d", w.wrong, w.epochs[3])
	}
	w.leads(2, reign{3, 7})
	if len(w.wrong) != 1 || w.epochs[3] != 8 {
		t.Errorf("two leaders in epoch 7: %q, epoch %d", w.wrong, w.epochs[3])
	}
}

// TestLedgerFinds has the ledger find what coordinators must not say.
func TestLedgerFinds(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	for name, tt := range map[string]struct {
		say  func(l *ledger)
		want string
	}{
		"one after the other": {func(l *ledger) {
			first, doomed := l.after(0, 3)
			l.committed(first, doomed, 0)
			second, doomed := l.after(1, 4)
			floor := l.floor()
			l.committed(second, doomed, 0)
			l.fetched(entry{0, 3, first.offset}, floor, 0, true) // asked before the second
			l.fetched(entry{1, 4, second.offset}, l.floor(), 0, true)
		}, ""},
		"an old one tells what was so": {func(l *ledger) {
			first, doomed := l.after(0, 3)
			l.committed(first, doomed, 0)
			second, doomed := l.after(1, 4)
			l.committed(second, doomed, 0)
			l.fetched(entry{0, 3, first.offset}, l.floor(), 0, true)
		}, "broker 1 says in epoch 3 that 1 is committed, after 2"},
		"an old one refuses": {func(l *ledger) {
			l.after(1, 4)
			e, doomed := l.after(0, 3)
			l.committed(e, doomed, kerr.NotCoordinator.Code)
		}, ""},
		"an old one acknowledges": {func(l *ledger) {
			l.after(1, 4)
			e, doomed := l.after(0, 3)
			l.committed(e, doomed, 0)
		}, "broker 1 has acknowledged offset 2 in epoch 3"},
		"a commit is lost": {func(l *ledger) {
			e, doomed := l.after(0, 3)
			l.committed(e, doomed, 0)
			l.fetched(entry{1, 4, e.offset - 1}, l.floor(), 0, true)
		}, "broker 2 says in epoch 4 that 0 is committed, after 1"},
		"nobody's commit": {func(l *ledger) {
			l.posts[2].since = long
			e, doomed := l.after(2, notLeading)
			l.committed(e, doomed, 0)
		}, "broker 3 has acknowledged offset 1 and has not led"},
		"nobody's answer": {func(l *ledger) {
			l.posts[2].since = long
			l.fetched(entry{2, notLeading, 7}, 0, 0, true)
		}, "broker 3 tells of offset 7 and has not led"},
		"who is about to lead": {func(l *ledger) {
			l.posts[2].since = long
			l.fetched(entry{2, notLeading, 7}, 0, 0, false)
		}, ""},
		"who has led a moment ago": {func(l *ledger) {
			l.posts[2].since = long
			l.led(2, 3)
			l.led(2, notLeading)
			l.fetched(entry{2, notLeading, 7}, 0, 0, true)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{doomed: map[int64]entry{}, newest: notLeading}
			for range 3 {
				l.posts = append(l.posts, post{epoch: notLeading, since: time.Now()})
			}
			tt.say(l)
			all := strings.Join(l.wrong, "\n")
			if (tt.want == "") != (all == "") || !strings.Contains(all, tt.want) {
				t.Errorf("said %q, want %q", all, tt.want)
			}
		})
	}
}

// after prepares a commit after a broker has said in which epoch it leads.
func (l *ledger) after(i int, epoch int32) (e entry, doomed bool) {
	l.led(i, epoch)
	return l.entry(i, true)
}

// TestLedgerReads has the ledger compare the log with what was said.
func TestLedgerReads(t *testing.T) {
	record := func(offset int64) *kgo.Record {
		key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
		key.Version, key.Group, key.Topic = 1, ledgerGroup, offsetsTopic
		value.Version, value.Offset = 3, offset
		return &kgo.Record{Offset: 100 + offset, Key: key.AppendTo(nil), Value: value.AppendTo(nil)}
	}
	l := &ledger{acked: []entry{{0, 3, 1}, {1, 4, 5}}, doomed: map[int64]entry{3: {0, 3, 3}, 4: {0, 3, 4}}}
	l.compare([]*kgo.Record{record(1), record(2), record(5)})
	if len(l.wrong) > 0 {
		t.Errorf("nothing was wrong: %q", l.wrong)
	}
	l.compare([]*kgo.Record{record(1), record(3)})
	want := []string{"offset 3, sent to broker 1 in epoch 3, which had been replaced, is in the log at 103", "offset 5, acknowledged by broker 2 in epoch 4, is not in the log"}
	if !slices.Equal(l.wrong, want) {
		t.Errorf("said %q, want %q", l.wrong, want)
	}
}

// TestConsumersFind has a group find commits that go back, and records that nobody has
// processed.
func TestConsumersFind(t *testing.T) {
	g := &consumers{name: "g"}
	before, last := g.promised()
	g.process(2, 0)
	g.process(2, 2)
	g.begins(2, promise{offset: 0}, before)
	g.acknowledged(2, promise{3, 7, "m"}, before, last)
	if at, ok := g.missing(2, 3); !ok || at != 1 || len(g.wrong) > 0 {
		t.Errorf("missing %d, %v; wrong %q", at, ok, g.wrong)
	}
	before, last = g.promised()
	g.begins(2, promise{offset: 2}, before)
	g.acknowledged(2, promise{2, 6, "m"}, before, last)
	if len(g.wrong) != 3 {
		t.Errorf("wrong are %q", g.wrong)
	}
	g.process(2, 1)
	if _, ok := g.missing(2, 3); ok {
		t.Error("nothing is missing")
	}
	if _, ok := g.missing(2, 4); !ok {
		t.Error("the last record is missing")
	}
}

// TestOffsetsPartition: hashes as Java has them.
func TestOffsetsPartition(t *testing.T) {
	for group, want := range map[string]int{"": 0, "a": 97 % 6, "ledger": 1106662039 % 6, "polygenelubricants": 0} {
		if got := offsetsPartition(group); got != want {
			t.Errorf("%q is in partition %d, want %d", group, got, want)
		}
	}
}

// TestReplicasDiffer has the comparison of files find where they part, and leave out
// what is not committed.
func TestReplicasDiffer(t *testing.T) {
	batch := func(offset int64, records int, filling byte) []byte {
		b := binary.BigEndian.AppendUint64(nil, uint64(offset))
		b = binary.BigEndian.AppendUint32(b, 30)
		b = append(b, make([]byte, 11)...)
		b = binary.BigEndian.AppendUint32(b, uint32(records-1))
		return append(append(b, make([]byte, 14)...), filling)
	}
	between := func(from int64, segments ...[]byte) []byte {
		dir := t.TempDir()
		for i, s := range segments {
			if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+".log"), s, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b, err := batchesBetween(dir, from, 4)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(segments ...[]byte) []byte { return between(0, segments...) }
	one, two, two2, tail, tail2 := batch(0, 2, 1), batch(2, 2, 2), batch(2, 2, 3), batch(4, 1, 4), batch(4, 1, 5)
	whole := write(append(append([]byte{}, one...), two...), tail)
	if _, same := differ(whole, write(one, append(append([]byte{}, two...), tail2...))); !same {
		t.Error("segments, and what is not committed, make a difference")
	}
	if at, same := differ(whole, write(one, two2)); same || at != 2 {
		t.Errorf("another batch at offset 2: %v at %d", same, at)
	}
	if at, same := differ(whole, write(one)); same || at != 2 {
		t.Errorf("no batch at offset 2: %v at %d", same, at)
	}
	if at, same := differ(write(one), whole); same || at != 2 {
		t.Errorf("a batch more at offset 2: %v at %d", same, at)
	}
	if _, same := differ(between(2, two), between(2, one, two)); !same {
		t.Error("what was deleted makes a difference")
	}
}
