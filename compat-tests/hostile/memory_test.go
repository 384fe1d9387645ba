package hostile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// thorough runs every version and naming, which takes minutes: see scripts/torture.
var thorough = os.Getenv("HOSTILE_THOROUGH") != ""

// Every array of every request, filled up to the limits, costs less than one frame
// may, and is answered or ends its connection.
func TestLargeFrames(t *testing.T) {
	v := start(t)
	v.create("attacked")
	v.while("large frames")
	v.expectGrowth(oneFrame)
	if v.lines("panic") > 0 {
		t.Error(v.Tail(40))
	}
}

func largeFramesOneByOne(v *target) func() {
	c := v.dial()
	asked := kmsg.NewPtrApiVersionsRequest()
	asked.ClientSoftwareName, asked.ClientSoftwareVersion = "hostile", "1"
	keys := v.request(c, asked, 3).(*kmsg.ApiVersionsResponse).ApiKeys
	frames, slow, large := 0, time.Duration(0), 0
	send := func(f largeFrame) {
		frames++
		begin := time.Now()
		c.SetDeadline(begin.Add(patience))
		if _, err := ask(c, f.bytes); err != nil {
			if !isClosed(err) {
				v.t.Fatalf("%s: %v", f.name, err)
			}
			c.Close()
			c = v.dial()
		}
		if took := time.Since(begin); took > slow {
			slow = took
			v.t.Logf("%s took %v", f.name, took.Round(time.Millisecond))
		}
		grown := v.grown()
		if grown > large+large/8 {
			large = grown
			v.t.Logf("%s: memory has grown by %d MiB", f.name, grown>>20)
		}
		if grown > oneFrame {
			v.t.Fatalf("%s: memory has grown by %d MiB, more than %d", f.name, grown>>20, oneFrame>>20)
		}
	}
	return func() {
		for _, k := range keys {
			if k.ApiKey >= 4 && k.ApiKey <= 6 {
				continue // brokers' own, on their listener: who may send them may stop everything
			}
			for version := k.MinVersion; version <= k.MaxVersion; version++ {
				if !thorough && version != k.MaxVersion {
					continue
				}
				if k.ApiKey == 19 && version == 0 {
					// Cannot but make the topics, 10,000 at most, as Kafka does. What they take
					// is no frame's: 6 KiB each, for as long as they are there, half of it in
					// the embedded ZooKeeper, just as if they were made one by one.
					continue
				}
				for f := range largeFrames(k.ApiKey, version, "attacked") {
					send(f)
				}
			}
		}
		v.t.Logf("%d frames", frames)
	}
}

func isClosed(err error) bool {
	var network *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) && !network.Timeout()
}

// Fifty clients with the costliest frames at once.
func TestManyLargeFrames(t *testing.T) {
	v := start(t)
	v.create("attacked")
	v.while("many large frames")
	v.expectGrowth(manyClients)
}

func manyLargeFrames(v *target) func() {
	var costly [][]byte
	for key, version := range map[int16]int16{1: 4, 3: 12, 19: 7, 32: 4, 33: 2, 37: 3} {
		for f := range largeFrames(key, version, "attacked") {
			if f.taken {
				costly = append(costly, f.bytes)
			}
		}
	}
	return func() {
		var clients sync.WaitGroup
		for i := range 50 {
			c := v.dial()
			clients.Go(func() {
				defer c.Close()
				for n := range 2 {
					if _, err := ask(c, costly[(i*7+n)%len(costly)]); err != nil {
						return // closed, which is an answer
					}
				}
			})
		}
		clients.Wait()
	}
}

// Ten thousand connections announce 100 MiB each, send the beginning, and go on with
// a byte now and then.
func TestAnnouncedAndDripped(t *testing.T) {
	v := start(t)
	v.while("announced frames")
	v.expectGrowth(manyClients)
	v.expectStop()
}

func announcedAndDripped(v *target) func() {
	const clients, sent = 10_000, 30_000
	head := frame(produceTo("t", make([]byte, sent)))[:sent]
	binary.BigEndian.PutUint32(head, 100<<20)
	conns := make([]net.Conn, clients)
	return func() {
		v.openAll(conns, head)
		for range 2 {
			for _, c := range conns {
				c.Write([]byte{0}) // an error is an answer, too
			}
			time.Sleep(500 * time.Millisecond) // it is about what happens meanwhile
		}
	}
}

// Thousands of connections wait for records that never come, and send behind that the
// beginning of a large frame: it holds none of the memory that others need for theirs.
func TestFramesBehindFetches(t *testing.T) {
	v := start(t)
	v.create("attacked")
	v.while("frames behind fetches")
	limit := 50 << 20 // 38 were measured, and 62 with memory for the frames
	if thorough {
		limit = 210 << 20 // 180, and 238
	}
	v.expectGrowth(limit)
	v.expectStop()
}

func framesBehindFetches(v *target) func() {
	clients := 2_000
	if thorough {
		clients = 10_000
	}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(11)
	fetch.MaxWaitMillis, fetch.MinBytes, fetch.MaxBytes = int32(time.Hour/time.Millisecond), 1, 1<<20
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes = 1 << 20
	fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "attacked", Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	behind := frame(produceTo("attacked", make([]byte, 30_000)))
	both := append(frame(fetch), behind[:20_000]...)
	conns := make([]net.Conn, clients)
	return func() {
		v.openAll(conns, both)
		for _, c := range conns { // all of them still wait
			c.SetReadDeadline(time.Now().Add(time.Millisecond / 10))
			if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				v.t.Fatalf("a fetch has not waited: %d bytes, %v", n, err)
			}
		}
	}
}

// openAll opens connections from several addresses, and sends the same on each.
func (v *target) openAll(conns []net.Conn, first []byte) {
	v.t.Helper()
	for i := range conns {
		conns[i] = v.dialFrom(i)
		if _, err := conns[i].Write(first); err != nil {
			v.t.Fatalf("connection %d: %v", i, err)
		}
	}
}

// bombs decompress to a GiB, or as much as a MiB of the codec can.
func bombs(t tb) map[int16][]byte {
	t.Helper()
	zeros := bytes.NewReader(make([]byte, 256<<20))
	pack := func(w io.WriteCloser, err error) {
		t.Helper()
		zeros.Seek(0, io.SeekStart)
		if err == nil {
			_, err = io.Copy(w, zeros)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	var zipped, framed, packed bytes.Buffer
	pack(gzip.NewWriterLevel(&zipped, gzip.BestCompression))
	w := lz4.NewWriter(&framed)
	pack(w, w.Apply(lz4.BlockSizeOption(lz4.Block4Mb)))
	pack(zstd.NewWriter(&packed))
	// A snappy block that is one literal and copies of it, as dense as can be.
	snappy := binary.AppendUvarint(nil, 64*300_000+1)
	snappy = append(snappy, 0, 'x')
	for range 300_000 {
		snappy = append(snappy, 63<<2|2, 1, 0)
	}
	return map[int16][]byte{1: zipped.Bytes(), 2: snappy, 3: framed.Bytes(), 4: packed.Bytes()}
}

// Bombs in each codec, where batches are opened: fifty clients send them at once,
// and one that has been stored is looked into for a timestamp.
func TestDecompressionBombs(t *testing.T) {
	v := start(t, "record.validation=full", "message.max.bytes=8000000")
	v.create("recompressed", "compression.type=uncompressed", "max.message.bytes=8000000")
	payloads := bombs(t)
	c := v.dial()
	defer c.Close()
	const messageTooLarge, corruptMessage, invalidRecord = 10, 2, 87
	for codec, payload := range payloads {
		b := batch(codec, payload)
		for _, topic := range []string{"t", "recompressed"} {
			want := int16(messageTooLarge)
			if codec == 2 && topic == "t" {
				want = invalidRecord // 19 MB of what are no records
			}
			if code := v.produce(c, topic, b); code != want {
				t.Errorf("codec %d to %s: error code %d, want %d", codec, topic, code, want)
			}
		}
	}
	v.while("bombs")
	v.expectGrowth(manyClients)
}

func manyBombs(v *target) func() {
	payloads := bombs(v.t)
	return func() {
		var clients sync.WaitGroup
		for i := range 50 {
			clients.Go(func() {
				c := v.dial()
				defer c.Close()
				for n := range 2 {
					codec := int16(1 + (i+n)%4)
					req := produceTo("recompressed", batch(codec, payloads[codec]))
					req.SetVersion(9)
					if _, err := ask(c, frame(req)); err != nil {
						v.t.Errorf("codec %d: %v", codec, err)
					}
				}
			})
		}
		clients.Wait()
	}
}

// Clients that ask and never read: their replies are bounded, and a stop does not
// wait for them.
func TestUnreadReplies(t *testing.T) {
	v := start(t)
	v.while("unread replies")
	v.expectGrowth(manyClients)
	v.expectStop()
}

func unreadReplies(v *target) func() {
	describe := kmsg.NewPtrDescribeConfigsRequest()
	describe.SetVersion(4)
	describe.IncludeDocumentation, describe.IncludeSynonyms = true, true
	for range 40 {
		describe.Resources = append(describe.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"})
	}
	question := bytes.Repeat(frame(describe), 30)
	conns := make([]net.Conn, 1000)
	return func() {
		for i := range conns {
			conns[i] = v.dial()
			conns[i].(*net.TCPConn).SetReadBuffer(4 << 10)
			conns[i].SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			conns[i].Write(question) // as much as is taken
		}
		time.Sleep(5 * time.Second) // it is about what happens meanwhile
	}
}
