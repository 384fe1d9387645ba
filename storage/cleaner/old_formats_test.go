package cleaner

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// putOld appends records in an old format, as a leader would have them that took over
// what Kafka 0.10 left. Without a value it is a tombstone.
func putOld(t *testing.T, log *commitlog.Log, magic int8, codec record.Codec, records ...string) {
	t.Helper()
	b := record.NewBuilder().SetBaseOffset(log.EndOffset()).SetCodec(codec, record.DefaultLevel)
	for _, kv := range records {
		key, value, _ := strings.Cut(kv, "=")
		var v []byte
		if value != "" {
			v = []byte(value)
		}
		b.Append(time.Now().UnixMilli(), []byte(key), v)
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	messages, err := record.DownConvert(nil, batch, magic, 0, 1<<20, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.AppendAsFollower(messages, 0); err != nil {
		t.Fatal(err)
	}
	log.AdvanceHighWatermark(log.EndOffset())
}

// shownOld is shown for a log of old messages.
func shownOld(t *testing.T, log *commitlog.Log) string {
	t.Helper()
	var text []string
	var c record.Compactor
	for at := log.StartOffset(); at < log.EndOffset(); {
		r, err := log.Read(at, 1<<20, log.EndOffset(), true)
		if err != nil {
			t.Fatal(err)
		}
		data, err := r.AppendTo(nil)
		r.Release()
		if err != nil || len(data) == 0 {
			t.Fatal(len(data), err)
		}
		for len(data) > 0 {
			b, rest, err := record.NextEntry(data)
			if err == nil && b.Magic() < 2 {
				err = record.Message(b).CheckCRC()
			}
			if err != nil {
				t.Fatal(err)
			}
			err = c.Outlines(b, 1<<20, func(o record.Outline) bool {
				at = o.Offset + 1
				if !strings.HasPrefix(string(o.Key), "fill") {
					text = append(text, fmt.Sprintf("%d:%s:%v", o.Offset, o.Key, o.HasValue))
				}
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			data = rest
		}
	}
	return strings.Join(text, " ")
}

// Messages of the old formats are compacted, too; how long their tombstones stay is
// told by when segments were written.
func TestOldFormats(t *testing.T) {
	for _, magic := range []int8{0, 1} {
		for _, codec := range []record.Codec{record.None, record.Gzip, record.LZ4} {
			t.Run(fmt.Sprintf("format %d, %v", magic, codec), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := openLog(t, vfs.NewMem(), "t", compacted(func(c *config.Topic) { c.MinCleanableDirtyRatio = 0 }))
					c := newCleaner(Config{}, nil, log)
					next := func() {
						for n := len(log.Sealed()); len(log.Sealed()) == n; {
							putOld(t, log, magic, record.None, fmt.Sprintf("fill-%d=%0100d", log.EndOffset(), 0))
						}
					}
					putOld(t, log, magic, codec, "a=1", "b=1", "a", "c=1")
					putOld(t, log, magic, codec, "c=2", "d=1")
					next()
					compactOnce(t, c)
					if got, want := shownOld(t, log), "1:b:true 2:a:false 4:c:true 5:d:true"; got != want {
						t.Errorf("%s\nwant %s", got, want)
					}
					time.Sleep(23 * time.Hour)
					next()
					compactOnce(t, c)
					next()
					compactOnce(t, c)
					if got := shownOld(t, log); !strings.Contains(got, "2:a:false") {
						t.Errorf("before its time: %s", got)
					}
					time.Sleep(2 * time.Hour)
					next()
					compactOnce(t, c)
					next()
					compactOnce(t, c)
					if got, want := shownOld(t, log), "1:b:true 4:c:true 5:d:true"; got != want {
						t.Errorf("%s\nwant %s", got, want)
					}
				})
			})
		}
	}
}
