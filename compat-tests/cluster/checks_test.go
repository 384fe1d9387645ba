package cluster

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
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
