package differential

import (
	"slices"
	"testing"
)

// What has no case is missed: a version above or below those of the cases, one in
// between, and a key.
func TestMissing(t *testing.T) {
	all := []api{{key: 0, name: "produce", cases: []spec{{name: "a", from: 1, to: 2}, {name: "b", from: 4, to: 5}}}, {key: 1, name: "fetch", cases: []spec{{name: "c"}}}}
	for _, tt := range []struct {
		versions map[int16][2]int16
		want     []string
	}{
		{map[int16][2]int16{0: {1, 2}, 1: {0, 17}}, nil},
		{map[int16][2]int16{0: {0, 6}}, []string{"Produce version 0", "Produce version 3", "Produce version 6"}},
		{map[int16][2]int16{0: {4, 5}, 1: {3, 4}, 2: {0, 1}}, []string{"ListOffsets version 0", "ListOffsets version 1"}},
	} {
		if got := missing(tt.versions, all); !slices.Equal(got, tt.want) {
			t.Errorf("%v: missing %q, want %q", tt.versions, got, tt.want)
		}
	}
	// Every API of today would be missed.
	for _, a := range apis() {
		others := slices.DeleteFunc(apis(), func(o api) bool { return o.key == a.key })
		if got := missing(map[int16][2]int16{a.key: {0, 0}}, others); len(got) != 1 {
			t.Errorf("without the cases of %s %q are missing", a.name, got)
		}
	}
}
