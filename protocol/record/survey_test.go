package record

import (
	"math/rand/v2"
	"testing"
)

// surveyedAlike checks that the short way and the long way read the record that a payload
// begins with alike, if the short way takes it.
func surveyedAlike(t *testing.T, payload []byte) (plain, ok bool, rest []byte) {
	t.Helper()
	var want Record
	rest, ok = nextRecord(payload, &want)
	seen, w := nothingSeen(), walker{rest: payload, left: 1}
	seen.addPlain(&w, want.OffsetDelta, goldenTime)
	if w.left > 0 {
		if len(w.rest) != len(payload) || seen != nothingSeen() {
			t.Fatalf("% x: no record was added, but %+v, and %d bytes are left of %d", payload[:min(64, len(payload))], seen, len(w.rest), len(payload))
		}
		return false, ok, rest
	}
	timestamp := goldenTime + want.TimestampDelta
	expected := survey{timestamp, timestamp, want.OffsetDelta >= 0, want.Key != nil}
	if !ok || len(w.rest) != len(rest) || seen != expected || want.HeaderCount != 0 {
		t.Fatalf("% x: %+v, and %d bytes are left; nextRecord says %+v, %v, and %d bytes", payload[:min(64, len(payload))], seen, len(w.rest), want, ok, len(rest))
	}
	next := walker{rest: payload, left: 1}
	if seen.addPlain(&next, want.OffsetDelta+1, goldenTime); seen.offsetsInOrder {
		t.Fatalf("% x: offset %d is taken for the next", payload[:min(64, len(payload))], want.OffsetDelta)
	}
	return true, ok, rest
}

// TestAddPlainAgreesWithNextRecord tries records of all shapes, whole and damaged.
func TestAddPlainAgreesWithNextRecord(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	short, long := 0, 0
	for range 300 {
		for payload := damaged(t, r); len(payload) > 0; {
			plain, ok, rest := surveyedAlike(t, payload)
			if plain {
				short++
			} else if ok {
				long++
			}
			if !ok {
				break
			}
			payload = rest
		}
	}
	if short < 1000 || long < 1000 {
		t.Errorf("%d records went the short way, %d whole ones the long way: the test has lost its subject", short, long)
	}
}

// TestAddPlainOfEveryByte puts every byte in every place of what records of many shapes begin
// and end with, close to the end of the payload and away from it.
func TestAddPlainOfEveryByte(t *testing.T) {
	short := 0
	try := func(key, value []byte, timestampDelta int64, offset int32) {
		for _, behind := range []int{0, word - 1, word, word + 1, 300} {
			payload := append(appendRecord(nil, timestampDelta, offset, key, value, 0, nil), make([]byte, behind)...)
			const begin, end = 14, 2
			for at := range payload {
				if at > begin && at < len(payload)-behind-end {
					continue
				}
				was := payload[at]
				for b := range 256 {
					payload[at] = byte(b)
					if plain, _, _ := surveyedAlike(t, payload); plain {
						short++
					}
				}
				payload[at] = was
			}
		}
	}
	for _, key := range [][]byte{nil, {}, []byte("key"), make([]byte, 70)} {
		for _, value := range [][]byte{nil, {}, []byte("value"), make([]byte, 70), make([]byte, 8100)} {
			try(key, value, 100, 8000)
		}
	}
	for _, timestampDelta := range []int64{-1, 100, 1 << 14} {
		for _, offset := range []int32{0, 100, 10000, 1 << 20, 1 << 30} {
			try(nil, []byte("value"), timestampDelta, offset)
		}
	}
	if short < 10000 {
		t.Errorf("%d records went the short way: the test has lost its subject", short)
	}
}

// damaged is the payload of a batch of some records, in two of three of which bits are wrong.
func damaged(t *testing.T, r *rand.Rand) []byte {
	builder := NewBuilder()
	keyed := r.IntN(2) == 0
	for _, rec := range someRecords(r, 40) {
		if keyed && rec.key == nil {
			rec.key = []byte("key")
		}
		builder.Append(rec.ts%(1<<r.IntN(24)+1), rec.key, rec.value, rec.headers...)
	}
	payload := mustBuild(t, builder).Payload()
	for range r.IntN(3) {
		payload[r.IntN(len(payload))] ^= 1 << r.IntN(8)
	}
	return payload
}

// TestSurveyOfManyRecords has both ways take turns: what they see together is what the long
// way sees alone.
func TestSurveyOfManyRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	whole, disordered, keyed := 0, 0, 0
	for range 3000 {
		payload := damaged(t, r)
		count := int32(38 + r.IntN(4))
		seen, err := surveyRecords(payload, count, goldenTime)

		expected, w := nothingSeen(), walker{rest: payload, left: count}
		var rec Record
		for i := int32(0); w.next(&rec); i++ {
			timestamp := goldenTime + rec.TimestampDelta
			expected.minTimestamp, expected.maxTimestamp = min(expected.minTimestamp, timestamp), max(expected.maxTimestamp, timestamp)
			expected.offsetsInOrder = expected.offsetsInOrder && rec.OffsetDelta == i
			expected.keyed = expected.keyed && rec.Key != nil
		}
		switch wanted := w.err(); {
		case seen != expected:
			t.Fatalf("% x: %+v, not %+v", payload, seen, expected)
		case (err == nil) != (wanted == nil) || err != nil && err.Error() != wanted.Error():
			t.Fatalf("% x: %v, not %v", payload, err, wanted)
		case err == nil:
			whole++
		}
		if !seen.offsetsInOrder {
			disordered++
		}
		if seen.keyed {
			keyed++
		}
	}
	if whole < 100 || disordered < 10 || keyed < 100 || keyed > 2900 {
		t.Errorf("%d whole batches, %d out of order, %d with keys: the test has lost its subject", whole, disordered, keyed)
	}
}

// TestMostRecordsArePlain guards the short way itself: of a large batch of small
// records only the last has to go the long way.
func TestMostRecordsArePlain(t *testing.T) {
	for _, key := range []string{"", "user-17"} {
		builder := NewBuilder()
		for i := range 10000 {
			builder.Append(goldenTime+int64(i/8), []byte(key), make([]byte, 100))
		}
		seen, w := nothingSeen(), walker{rest: mustBuild(t, builder).Payload(), left: 10000}
		if seen.addPlain(&w, 0, goldenTime); w.left != 1 {
			t.Errorf("key %q: the short way ends %d records before the end", key, w.left)
		}
	}
}
