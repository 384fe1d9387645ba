package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// complaints are what checks have found.
type complaints []string

func (c *complaints) Helper() {}

func (c *complaints) Errorf(format string, args ...any) {
	*c = append(*c, fmt.Sprintf(format, args...))
}

func (c *complaints) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(*c, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("found %q, want %q", got, want)
	}
	*c = nil
}

func keyed(key, value string) *kgo.Record { return &kgo.Record{Key: []byte(key), Value: []byte(value)} }

// TestTransactionChecksFind has the checks of TestTransactions find what must not be.
func TestTransactionChecksFind(t *testing.T) {
	var c complaints
	b := &book{outcomes: map[string]outcome{}}
	for _, line := range []string{"committed a 2", "aborted b 1", "committed c"} {
		b.note(processing, line)
	}
	b.note(transferring, "committed d 2")
	a0, a1 := keyed("a", "0:0"), keyed("a", "0:1")
	b.compare(&c, processing, []*kgo.Record{a0, a1, keyed("c", "0:2")})
	c.expect(t)
	b.compare(&c, processing, []*kgo.Record{a0, a1, keyed("b", "0:2")})
	c.expect(t, "1 records are there of b, which was aborted")
	b.compare(&c, processing, []*kgo.Record{a0})
	c.expect(t, "1 records are there of a, which was committed with 2")

	input := map[int32]int64{0: 2}
	sameAsInput(&c, input, []*kgo.Record{a1, a0})
	c.expect(t)
	sameAsInput(&c, input, []*kgo.Record{a0, a0, keyed("a", "1:7")})
	c.expect(t, "record 0 of partition 0 is in the output 2 times", "record 1 of partition 0 is in the output 0 times", "record 1:7 is in the output and not in the input")

	balance(&c, "r", []*kgo.Record{keyed("a", "5"), keyed("b", "-3"), keyed("a", "-5"), keyed("b", "3")})
	c.expect(t)
	balance(&c, "r", []*kgo.Record{keyed("a", "5"), keyed("a", "-5"), keyed("b", "3")})
	c.expect(t, "r finds the sum of the accounts 3", "r finds 1 of the two halves of b")
}
