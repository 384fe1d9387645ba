package cleaner

import (
	"fmt"
	"testing"
)

func TestKeyMap(t *testing.T) {
	m := newKeyMap(1<<20, 0.9, 1000)
	if len(m.slots) > 1200 {
		t.Errorf("%d slots for 1000 records", len(m.slots))
	}
	for i := range 1000 {
		if !m.put(fmt.Appendf(nil, "key %d", i), int64(i)) {
			t.Fatalf("full at %d", i)
		}
	}
	for i := 0; i < 1000; i += 2 {
		if !m.put(fmt.Appendf(nil, "key %d", i), int64(1000+i)) {
			t.Fatalf("no room for a key that is there")
		}
	}
	for i := range 1000 {
		want := int64(i)
		if i%2 == 0 {
			want += 1000
		}
		if got := m.offset(fmt.Appendf(nil, "key %d", i)); got != want {
			t.Errorf("key %d is at %d instead of %d", i, got, want)
		}
	}
	for _, other := range []string{"", "key", "key 1000"} {
		if got := m.offset([]byte(other)); got != -1 {
			t.Errorf("%q is at %d", other, got)
		}
	}
}

// What it takes has a bound, however many records there are, and offset 0 is one.
func TestKeyMapIsBounded(t *testing.T) {
	m := newKeyMap(100*slotBytes, 0.5, 1<<40)
	if len(m.slots) != 100 {
		t.Errorf("%d slots", len(m.slots))
	}
	n := 0
	for m.put(fmt.Append(nil, n), int64(n)) {
		n++
	}
	if n != 50 || m.offset([]byte("0")) != 0 || m.offset([]byte("50")) != -1 || !m.put([]byte("7"), 60) {
		t.Errorf("full with %d keys of 100 slots, by half", n)
	}
	for _, tiny := range []*keyMap{newKeyMap(0, 0.9, 5), newKeyMap(1, 0, 0), newKeyMap(slotBytes, 1, 1)} {
		if !tiny.put([]byte("a"), 1) || tiny.offset([]byte("a")) != 1 || tiny.offset([]byte("b")) != -1 {
			t.Error("there must be room for one key, and an end to every search")
		}
	}
}
