package record

import (
	"math/rand/v2"
	"testing"
)

// TestPlainRecordAgreesWithNextRecord tries records of all shapes, whole and damaged:
// what the short way accepts, the long way must read alike.
func TestPlainRecordAgreesWithNextRecord(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	plain, other := 0, 0
	for range 300 {
		builder := NewBuilder()
		for _, rec := range someRecords(r, 40) {
			builder.Append(rec.ts%(1<<r.IntN(24)+1), rec.key, rec.value, rec.headers...)
		}
		payload := mustBuild(t, builder).Payload()
		for range r.IntN(3) {
			payload[r.IntN(len(payload))] ^= 1 << r.IntN(8)
		}
		for len(payload) > 0 {
			timestampDelta, offsetDelta, keyed, size := plainRecord(payload)
			var want Record
			rest, ok := nextRecord(payload, &want)
			if size > 0 {
				plain++
				if !ok || size != len(payload)-len(rest) || timestampDelta != want.TimestampDelta ||
					offsetDelta != want.OffsetDelta || keyed != (want.Key != nil) || want.HeaderCount != 0 {
					t.Fatalf("% x: %d, %d, %v, %d bytes; nextRecord says %+v, %v", payload[:min(64, len(payload))],
						timestampDelta, offsetDelta, keyed, size, want, ok)
				}
			} else if ok {
				other++
			}
			if !ok {
				break
			}
			payload = rest
		}
	}
	if plain < 1000 || other < 1000 {
		t.Errorf("%d records went the short way, %d whole ones the long way: the test has lost its subject", plain, other)
	}
}

// TestMostRecordsArePlain guards the short way itself: of a large batch of small
// records only the last has to go the long way.
func TestMostRecordsArePlain(t *testing.T) {
	for _, key := range []string{"", "user-17"} {
		builder := NewBuilder()
		for i := range 8000 {
			builder.Append(goldenTime+int64(i/8), []byte(key), make([]byte, 100))
		}
		payload := mustBuild(t, builder).Payload()
		n := 0
		for {
			_, _, _, size := plainRecord(payload)
			if size == 0 {
				break
			}
			n++
			payload = payload[size:]
		}
		if n != 7999 {
			t.Errorf("key %q: the short way ends after %d of 8000 records", key, n)
		}
	}
}
