package txn

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const goldenMS = 1700000000000

func goldenOngoing() value {
	return value{producerID: 1000, epoch: 2, timeoutMS: 60000, state: Ongoing, partitions: partitionsNamed("t-0", "t-1"), updateMS: goldenMS, startMS: goldenMS}
}

// What Kafka 3.9's own classes write.
func TestGoldenRecords(t *testing.T) {
	if got, want := appendKey(nil, "tx"), unhex(t, "000000027478"); !bytes.Equal(got, want) {
		t.Errorf("key %x, Kafka's %x", got, want)
	}
	empty := value{producerID: 1000, epoch: 2, timeoutMS: 60000, updateMS: goldenMS, startMS: -1}
	ongoing := goldenOngoing()
	for _, c := range []struct {
		v     value
		bytes string
	}{
		{empty, "000000000000000003e800020000ea6000ffffffff0000018bcfe56800ffffffffffffffff"},
		{ongoing, "000000000000000003e800020000ea6001000000010001740000000200000000000000010000018bcfe568000000018bcfe56800"},
	} {
		want := unhex(t, c.bytes)
		if got := appendValue(nil, &c.v); !bytes.Equal(got, want) {
			t.Errorf("%+v: %x, Kafka's %x", c.v, got, want)
		}
		if got, err := parseValue(want); err != nil || !reflect.DeepEqual(got, c.v) {
			t.Errorf("%x: %+v, %v, want %+v", want, got, err, c.v)
		}
		for n := range want {
			if _, err := parseValue(want[:n]); !errors.Is(err, errRecord) {
				t.Errorf("%x: %v", want[:n], err)
			}
		}
	}
}

// Version 1 is flexible: Kafka 4 writes it, with tagged fields.
func TestFlexibleValue(t *testing.T) {
	for _, text := range []string{
		"000100000000000003e800020000ea6001020274030000000000000001000000018bcfe568000000018bcfe5680000",
		"000100000000000003e800020000ea6001020274030000000000000001000000018bcfe568000000018bcfe56800" + "0200080000000000000007" + "02020001",
	} {
		b := unhex(t, text)
		got, err := parseValue(b)
		if want := goldenOngoing(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%x: %+v, %v, want %+v", b, got, err, want)
		}
		for n := range b {
			if _, err := parseValue(b[:n]); !errors.Is(err, errRecord) {
				t.Errorf("%x: %v", b[:n], err)
			}
		}
	}
}

// What this broker could not go on with is passed over.
func TestValuesThatAreNotUnderstood(t *testing.T) {
	v := goldenOngoing()
	for what, change := range map[string]func(b []byte){
		"version 2":          func(b []byte) { b[1] = 2 },
		"version -1":         func(b []byte) { b[0], b[1] = 0xff, 0xff },
		"state 6":            func(b []byte) { b[16] = 6 },
		"state 7":            func(b []byte) { b[16] = 7 },
		"state -1":           func(b []byte) { b[16] = 0xff },
		"a producer below 0": func(b []byte) { b[2] = 0x80 },
		"an epoch below 0":   func(b []byte) { b[10] = 0x80 },
	} {
		b := appendValue(nil, &v)
		change(b)
		if got, err := parseValue(b); !errors.Is(err, errRecord) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for _, key := range []string{"", "00", "0001000178", "00000002", "0000ffff"} {
		if got, err := parseKey(unhex(t, key)); !errors.Is(err, errRecord) {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
}

func kafkaSegment(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/kafka-3.9.2/__transaction_state-0.log")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func eachBatch(t testing.TB, f func(b record.Batch)) {
	t.Helper()
	for rest := kafkaSegment(t); len(rest) > 0; {
		var b record.Batch
		var err error
		if b, rest, err = record.Next(rest); err != nil {
			t.Fatal(err)
		}
		f(b)
	}
}

func eachRecord(t testing.TB, f func(b record.Batch, r record.Record)) {
	t.Helper()
	eachBatch(t, func(b record.Batch) {
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			f(b, r)
		}
	})
}

// What Kafka wrote, read and written again, is the same to the byte, and so are the
// batches. Only several topics are in the order of a hash there.
func TestRecordsOfKafkaAreTheSame(t *testing.T) {
	states := map[string]int{}
	eachBatch(t, func(b record.Batch) {
		var changes []*change
		hashed := false
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			id, err := parseKey(r.Key)
			if err != nil {
				t.Fatal(err)
			}
			c := &change{id: string(id), timeMS: b.Timestamp(r), tombstone: r.Value == nil}
			if c.tombstone {
				states["tombstone"]++
			} else if c.to, err = parseValue(r.Value); err != nil {
				t.Fatal(err)
			} else {
				states[c.to.state.String()]++
				p := c.to.partitions
				hashed = hashed || len(p) > 0 && p[0].Topic != p[len(p)-1].Topic
			}
			changes = append(changes, c)
		}
		got := encoded(t, changes...)
		got.SetBaseOffset(b.BaseOffset())
		got.SetLeaderEpoch(b.LeaderEpoch())
		if !hashed && !bytes.Equal(got, b) || len(got) != len(b) {
			t.Errorf("batch at %d:\n%x\nKafka's\n%x", b.BaseOffset(), []byte(got), []byte(b))
		}
	})
	want := map[string]int{"Empty": 11, "Ongoing": 7, "PrepareCommit": 2, "CompleteCommit": 2, "PrepareAbort": 3, "CompleteAbort": 3, "tombstone": 7}
	if !reflect.DeepEqual(states, want) {
		t.Errorf("found %v", states)
	}
}

// What Kafka left behind is what it was.
func TestLoadOfKafkasLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		eachBatch(t, func(b record.Batch) {
			log.Put(0, b)
			log.Put(1, b)
		})
		l := newLab(t, log, newBrokers(), func(c *Config) { c.LoadBufferBytes = 300 })
		defer l.stop()
		l.leads(0, 1)
		l.leads(1, 1)
		synctest.Wait()
		l.expect("commits", "TRANSACTIONAL_ID_NOT_FOUND")
		l.expect("open", "Ongoing 6/0 [payments-0 payments-1]")
		l.expect("open2", "TRANSACTIONAL_ID_NOT_FOUND")
		l.expect("café", "TRANSACTIONAL_ID_NOT_FOUND")
		d, err := l.c.Describe("open")
		if err != nil || d.TimeoutMS != 900000 || d.StartMS != 1795762334568 {
			t.Errorf("described as %+v, %v", d, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	eachRecord(f, func(_ record.Batch, r record.Record) { f.Add(r.Key, r.Value) })
	f.Add(appendKey(nil, "tx"), unhex(f, "000100000000000003e800020000ea6001020274030000000000000001000000018bcfe568000000018bcfe5680000"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if id, err := parseKey(key); err == nil {
			if again, err := parseKey(appendKey(nil, string(id))); err != nil || !bytes.Equal(again, id) {
				t.Errorf("%q becomes %q, %v", id, again, err)
			}
		}
		if v, err := parseValue(value); err == nil {
			if len(v.partitions) > len(value) {
				t.Errorf("%d partitions in %d bytes", len(v.partitions), len(value))
			}
			b := appendValue(nil, &v)
			if again, err := parseValue(b); err != nil || !reflect.DeepEqual(again, v) {
				t.Errorf("%+v becomes %+v, %v", v, again, err)
			}
			if len(b) > valueSize(&v) {
				t.Errorf("%d bytes, at most %d were expected", len(b), valueSize(&v))
			}
		}
		l := newLoader()
		b := record.NewBuilder()
		b.Append(1, key, value)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.add(batch); err != nil {
			t.Errorf("the load ends with %v", err)
		}
		var fx effects
		for id, v := range l.ids {
			loadedTransaction(id, &Limits{}, v, &fx).timeOut(epoch0, &fx)
		}
	})
}

// A length that is not there costs no memory.
func TestHostileLengths(t *testing.T) {
	v := goldenOngoing()
	b := appendValue(nil, &v)
	for _, at := range []int{17, 24} { // the number of topics, of partitions
		hostile := bytes.Clone(b)
		copy(hostile[at:], []byte{0x7f, 0xff, 0xff, 0xff})
		allocated := testing.AllocsPerRun(10, func() {
			if _, err := parseValue(hostile); !errors.Is(err, errRecord) {
				t.Error(err)
			}
		})
		if allocated > 12 {
			t.Errorf("%v allocations", allocated)
		}
	}
}
