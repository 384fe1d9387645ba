package statelog

import "testing"

func TestPartitionFor(t *testing.T) {
	for name, want := range map[string]int32{"my-group": 12, "test": 48, "polygenelubricants": 0, "": 0} {
		if got := PartitionFor(name, 50); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
	// As Java says: "café".hashCode(), "\uD83D\uDE00".hashCode().
	for s, want := range map[string]int32{"café": 3045921, "😀": 1772899, "polygenelubricants": -2147483648} {
		if got := javaHash(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}
