package compat

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

var recordTraffic = flag.String("record-traffic", "",
	"write what clients and the broker, and the broker and ZooKeeper, say to each other into this `folder`, a file for each test")

// startRecorded starts a broker behind relays. Its own controller and its
// followers come by way of the relay too: it is what the broker advertises.
func startRecorded(t *testing.T, target harness.Target, o harness.Options) *harness.Broker {
	t.Helper()
	kafka := &recording{frames: map[string][]byte{}, common: func(kind string) bool { return strings.HasPrefix(kind, "reply ") }}
	zookeeper := &recording{frames: map[string][]byte{}, common: func(string) bool { return true }}
	name, _, _ := strings.Cut(strings.TrimPrefix(t.Name(), "Test"), "/")
	t.Cleanup(func() {
		kafka.write(t, filepath.Join(*recordTraffic, "kafka", name+".txt"))
		zookeeper.write(t, filepath.Join(*recordTraffic, "zookeeper", name+".txt"))
	})
	listener := fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
	front := harness.StartRelay(t, listener, func() harness.Watcher {
		return &kafkaWatcher{to: kafka, sent: map[int32]kafkaRequest{}}
	})
	servers, chroot, _ := strings.Cut(harness.ZooKeeper(t), "/")
	back := harness.StartRelay(t, servers, func() harness.Watcher {
		return &zooKeeperWatcher{to: zookeeper, sent: map[int32]string{}}
	})
	o.ZooKeeper = back.Addr + "/" + chroot
	o.Properties = append(slices.Clone(o.Properties), "listeners=PLAINTEXT://"+listener, "advertised.listeners=PLAINTEXT://"+front.Addr)
	b := target.Start(t, o)
	b.Addr = front.Addr
	return b
}

// maxKept bounds, in bytes, the frames that are kept.
const maxKept = 2 << 10

// recording keeps the smallest frame of each kind.
type recording struct {
	mu     sync.Mutex
	frames map[string][]byte      // by kind
	common func(kind string) bool // the broker sends frames of this kind whoever the client is
}

func (r *recording) keep(kind string, frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept, seen := r.frames[kind]; len(frame) <= maxKept && (!seen || len(frame) < len(kept)) {
		r.frames[kind] = slices.Clone(frame)
	}
}

// write writes a line for each frame: its kind, a colon and the frame in base64.
// Common ones that another file of the folder has are left out.
func (r *recording) write(t *testing.T, file string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	elsewhere := kindsBeside(t, file)
	lines := []string{fmt.Sprintf("# Recorded by scripts/record-traffic in %s.\n", t.Name())}
	for kind, frame := range r.frames {
		if !r.common(kind) || !elsewhere[kind] {
			lines = append(lines, kind+": "+base64.StdEncoding.EncodeToString(frame)+"\n")
		}
	}
	if len(lines) == 1 {
		return
	}
	slices.Sort(lines[1:])
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Error(err)
	}
}

// kindsBeside returns the kinds of the frames in the other files of a folder.
func kindsBeside(t *testing.T, file string) map[string]bool {
	kinds := map[string]bool{}
	others, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.txt"))
	if err != nil {
		t.Error(err)
	}
	for _, other := range others {
		text, err := os.ReadFile(other)
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(text)) {
			if kind, _, found := strings.Cut(line, ": "); found && other != file {
				kinds[kind] = true
			}
		}
	}
	return kinds
}

// magnitude tells frames apart by size, roughly: by a power of 4 that it is less than.
func magnitude(frame []byte) string {
	return fmt.Sprintf("less than %d bytes", 1<<(2*((bits.Len(uint(len(frame)))+1)/2)))
}

// kafkaWatcher watches a connection to a broker.
type kafkaWatcher struct {
	to   *recording
	mu   sync.Mutex
	sent map[int32]kafkaRequest // by correlation id, those without a reply
}

type kafkaRequest struct{ key, version int16 }

func (q kafkaRequest) String() string {
	return fmt.Sprintf("%d v%d %s", q.key, q.version, kmsg.NameForKey(q.key))
}

func (w *kafkaWatcher) Request(frame []byte) {
	if len(frame) < 10 {
		return
	}
	q := kafkaRequest{int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))}
	w.mu.Lock()
	w.sent[int32(binary.BigEndian.Uint32(frame[4:]))] = q
	w.mu.Unlock()
	w.to.keep(fmt.Sprintf("request %v, %s", q, cmp.Or(q.recordsOf(frame), magnitude(frame))), frame)
}

func (w *kafkaWatcher) Reply(frame []byte) {
	if len(frame) < 4 {
		return
	}
	id := int32(binary.BigEndian.Uint32(frame))
	w.mu.Lock()
	q, known := w.sent[id]
	delete(w.sent, id)
	w.mu.Unlock()
	if known {
		w.to.keep(fmt.Sprintf("reply %v, %s", q, cmp.Or(q.recordsIn(frame), magnitude(frame))), frame)
	}
}

// recordsOf describes the records of a produce request.
func (q kafkaRequest) recordsOf(frame []byte) string {
	req := kmsg.NewPtrProduceRequest()
	req.Version = q.version
	body := frame[min(len(frame), 10+max(0, int(int16(binary.BigEndian.Uint16(frame[8:]))))):]
	if req.IsFlexible() {
		body = body[min(len(body), 1):] // no tagged fields in the header
	}
	if q.key != req.Key() || req.ReadFrom(body) != nil {
		return ""
	}
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			return recordFormat(p.Records)
		}
	}
	return ""
}

// recordsIn describes the records of a fetch response.
func (q kafkaRequest) recordsIn(frame []byte) string {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = q.version
	body := frame[4:]
	if resp.IsFlexible() {
		body = body[min(len(body), 1):]
	}
	if q.key != resp.Key() || resp.ReadFrom(body) != nil {
		return ""
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if len(p.RecordBatches) > 0 {
				return recordFormat(p.RecordBatches)
			}
		}
	}
	return ""
}

// recordFormat names the format and the codec of the first batch or message.
func recordFormat(set []byte) string {
	const magic, messageAttributes, batchAttributes = 16, 17, 22
	if len(set) <= batchAttributes {
		return ""
	}
	attributes := set[messageAttributes]
	if set[magic] == 2 {
		attributes = set[batchAttributes]
	}
	if codec := int(attributes & 7); codec < len(codecs) {
		return fmt.Sprintf("format %d %s", set[magic], codecs[codec])
	}
	return ""
}

// zooKeeperWatcher watches a session with ZooKeeper.
type zooKeeperWatcher struct {
	to   *recording
	mu   sync.Mutex
	sent map[int32]string // by xid, the operations without a reply

	connecting, connected bool // the first frame has passed, to and from the server
}

// Request keeps one of each operation. The first frame has no header.
func (w *zooKeeperWatcher) Request(frame []byte) {
	if !w.connecting {
		w.connecting = true
		w.to.keep("request connect", frame)
		return
	}
	if len(frame) < 8 {
		return
	}
	op := fmt.Sprintf("%d", int32(binary.BigEndian.Uint32(frame[4:])))
	w.mu.Lock()
	w.sent[int32(binary.BigEndian.Uint32(frame))] = op
	w.mu.Unlock()
	w.to.keep(fmt.Sprintf("request %s, %s", op, magnitude(frame)), frame)
}

// Reply keeps one of each operation and error.
func (w *zooKeeperWatcher) Reply(frame []byte) {
	if !w.connected {
		w.connected = true
		w.to.keep("reply connect", frame)
		return
	}
	if len(frame) < 16 {
		return
	}
	xid, failed := int32(binary.BigEndian.Uint32(frame)), int32(binary.BigEndian.Uint32(frame[12:]))
	w.mu.Lock()
	op, known := w.sent[xid]
	delete(w.sent, xid)
	w.mu.Unlock()
	if !known {
		op = "event"
	}
	w.to.keep(fmt.Sprintf("reply %s, error %d, %s", op, failed, magnitude(frame)), frame)
}
