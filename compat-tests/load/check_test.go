package load

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// said is a test that keeps what it is told.
type said struct{ errors []string }

func (*said) Helper()             {}
func (*said) Logf(string, ...any) {}
func (s *said) Errorf(format string, args ...any) {
	s.errors = append(s.errors, fmt.Sprintf(format, args...))
}

// TestCheck has the check find each thing that must not be.
func TestCheck(t *testing.T) {
	at := func(offset int64, n uint32) *kgo.Record {
		value := binary.BigEndian.AppendUint32(make([]byte, 4), n)
		return &kgo.Record{Offset: offset, Value: value}
	}
	acked := func(offsets ...int64) []position { // −1: not acknowledged
		var all []position
		for _, offset := range offsets {
			all = append(all, position{acked: offset >= 0, offset: max(offset, 0)})
		}
		return all
	}
	for name, tt := range map[string]struct {
		acked []position
		there []*kgo.Record
		want  string
	}{
		"all there":         {acked(0, 1), []*kgo.Record{at(0, 0), at(1, 1)}, ""},
		"one more there":    {acked(0, -1), []*kgo.Record{at(0, 0), at(1, 1)}, ""},
		"one lost":          {acked(0, 1), []*kgo.Record{at(0, 0)}, "record 1 of producer 0 was acknowledged"},
		"one moved":         {acked(0, -1, 1), []*kgo.Record{at(0, 0), at(1, 1), at(2, 2)}, "record 2 of producer 0 was acknowledged"},
		"one twice":         {acked(0, 1), []*kgo.Record{at(0, 0), at(1, 1), at(2, 1)}, "there twice"},
		"in another order":  {acked(1, 0), []*kgo.Record{at(0, 1), at(1, 0)}, "comes after"},
		"an offset missing": {acked(0, 2), []*kgo.Record{at(0, 0), at(2, 1)}, "offset 2 where 1 should be"},
	} {
		t.Run(name, func(t *testing.T) {
			var s said
			Check(&s, []*Producer{{acked: tt.acked}}, [][]*kgo.Record{tt.there})
			all := strings.Join(s.errors, "\n")
			if (tt.want == "") != (all == "") || !strings.Contains(all, tt.want) {
				t.Errorf("said %q, want %q", all, tt.want)
			}
		})
	}
}
