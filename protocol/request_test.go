package protocol

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/traffic"
)

// fill puts random values into every field of a request.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			if r.IntN(4) == 0 {
				tags.Set(uint32(1000+r.IntN(9)), []byte("some tag"))
			}
			return
		}
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case reflect.Slice:
		if r.IntN(8) == 0 {
			return // null, where that is possible
		}
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 10))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString("a string of some length"[:r.IntN(20)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(int8(r.Uint32())))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(r.IntN(256)))
	case reflect.Float64:
		v.SetFloat(r.Float64())
	default:
		panic("a kind that no request had: " + v.Kind().String())
	}
}

// TestShapesAgainstKmsg: whatever kmsg writes, the shape must take to its last
// byte and no further, and kmsg must read it back through DecodeRequest.
func TestShapesAgainstKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for key := range APIKey(len(shapes)) {
		if shapes[key].fields == nil {
			continue
		}
		for v := int16(0); v <= shapes[key].last; v++ {
			for range 30 {
				req := kmsg.RequestForKey(int16(key))
				fill(r, reflect.ValueOf(req).Elem())
				req.SetVersion(v)
				frame := EncodeRequest(nil, 0, "", req)
				body := frame[len(frame)-len(req.AppendTo(nil)):]
				w := shapeWalker{left: math.MaxInt, rest: body, version: v, flexible: isFlexible(key, v)}
				if err := w.structure(shapes[key].fields); err != nil || len(w.rest) != 0 {
					t.Fatalf("%v version %d, %d bytes: %d left, %v\n%+v", key, v, len(body), len(w.rest), err, req)
				}
				h := RequestHeader{Key: key, Version: v}
				got, err := DecodeRequest(h, body)
				if err != nil {
					t.Fatalf("%v version %d: %v", key, v, err)
				}
				if again := EncodeRequest(nil, 0, "", got); string(again) != string(frame) {
					t.Fatalf("%v version %d: %x\nbecame %x", key, v, frame, again)
				}
				if len(body) > 0 {
					if _, err := DecodeRequest(h, body[:r.IntN(len(body))]); !errors.Is(err, ErrMalformed) {
						t.Fatalf("%v version %d, cut off: %v", key, v, err)
					}
				}
			}
		}
	}
}

func TestShapesOfAllZooKeeperModeKeys(t *testing.T) {
	count := 0
	for key := range shapes {
		if shapes[key].fields != nil {
			count++
		}
	}
	if count != 62 { // what Kafka 3.9 advertises in that mode
		t.Errorf("%d keys have shapes", count)
	}
}

func TestDecodeRequestRefuses(t *testing.T) {
	for _, h := range []RequestHeader{{Key: -1}, {Key: 1000}, {Key: Vote}} {
		if _, err := DecodeRequest(h, nil); !errors.Is(err, ErrUnknownAPIKey) {
			t.Errorf("%v: %v", h.Key, err)
		}
	}
	for _, h := range []RequestHeader{{Key: Metadata, Version: -1}, {Key: Metadata, Version: 14}} {
		if _, err := DecodeRequest(h, nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("version %d: %v", h.Version, err)
		}
	}
}

// TestDecodeRequestIsCheapForLiars sends counts that the bytes do not back.
func TestDecodeRequestIsCheapForLiars(t *testing.T) {
	padding := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		h    RequestHeader
		body []byte
	}{
		"four billion tags":            {RequestHeader{Key: Metadata, Version: 12}, []byte("\x01\x00\x00\x00\xff\xff\xff\xff\x0f")},
		"tags of an element":           {RequestHeader{Key: CreateTopics, Version: 7}, append([]byte("\x02\x02a\x00\x00\x00\x00\x00\x00\x01\x01\xff\xff\xff\xff\x0f"), padding...)},
		"a million topics":             {RequestHeader{Key: CreateTopics, Version: 2}, append([]byte("\x00\x10\x00\x00"), padding...)},
		"tags of a structure in a tag": {RequestHeader{Key: Fetch, Version: 15}, append(make([]byte, 21), "\x01\x01\x01\x01\x01\x11"+"123456789012"+"\xff\xff\xff\xff\x0f"...)},
		"two billion strings":          {RequestHeader{Key: DeleteTopics, Version: 3}, []byte("\x7f\xff\xff\xff")},
		"a million nested partitions":  {RequestHeader{Key: LeaderAndIsr, Version: 0}, append([]byte("\x00\x00\x00\x01\x00\x00\x00\x01\x00\x0f\xff\x00"), padding...)},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := DecodeRequest(c.h, c.body)
			runtime.ReadMemStats(&after)
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 100_000 {
				t.Errorf("%d bytes cost %d bytes of memory: %v", len(c.body), allocated, err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("%d bytes took %v: %v", len(c.body), d, err)
			}
		})
	}
}

func FuzzDecodeRequest(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for key := range APIKey(len(shapes)) {
		if shapes[key].fields == nil {
			continue
		}
		for _, v := range []int16{0, shapes[key].last} {
			req := kmsg.RequestForKey(int16(key))
			fill(r, reflect.ValueOf(req).Elem())
			req.SetVersion(v)
			f.Add(int16(key), v, req.AppendTo(nil))
		}
	}
	for _, frame := range traffic.Kafka(f) {
		if frame.Reply {
			continue
		}
		_, body, err := ParseRequestHeader(frame.Bytes)
		if err != nil {
			f.Fatalf("%s: %v", frame.Origin, err)
		}
		f.Add(frame.Key, frame.Version, body)
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		h := RequestHeader{Key: APIKey(key), Version: version}
		req, err := DecodeRequest(h, body)
		if err != nil {
			return
		}
		if _, err := DecodeRequest(h, req.AppendTo(nil)); err != nil {
			t.Fatalf("%v version %d: decoded, encoded, and then: %v", h.Key, version, err)
		}
	})
}

func BenchmarkDecodeRequest(b *testing.B) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	for range 100 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("a-topic-of-some-length")
		req.Topics = append(req.Topics, topic)
	}
	h, body := RequestHeader{Key: Metadata, Version: 12}, req.AppendTo(nil)
	b.Run("shape", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := checkShape(shapes[:], h.Key, h.Version, body, math.MaxInt); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeRequest(h, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The bytes are Kafka's: id 1, not KRaft, epoch 2, broker epoch 3, no topics.
func TestStopReplica4IsKafkas(t *testing.T) {
	const kafkas = "\x00\x00\x00\x01\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\x01\x00"
	req := kmsg.NewPtrStopReplicaRequest()
	req.Version, req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = 4, 1, 2, 3
	frame := EncodeRequest(nil, 7, "c", req)
	if got := string(frame[len(frame)-len(kafkas):]); got != kafkas {
		t.Errorf("encoded as %x", got)
	}
	body := []byte(kafkas)
	back, err := DecodeRequest(RequestHeader{Key: StopReplica, Version: 4}, body)
	if err != nil {
		t.Fatal(err)
	}
	if s := back.(*kmsg.StopReplicaRequest); s.ControllerID != 1 || s.ControllerEpoch != 2 || s.BrokerEpoch != 3 || s.IsKRaftController || string(body) != kafkas {
		t.Errorf("decoded as %+v, body %x", s, body)
	}
}

// Elements are counted wherever they stand, and tagged fields that nobody knows
// for more than one: the decoder makes a map of them.
func TestDecodeRequestWithin(t *testing.T) {
	topics := make([]kmsg.MetadataRequestTopic, 10)
	for i := range topics {
		topics[i].Topic = kmsg.StringPtr("t")
	}
	flat := &kmsg.MetadataRequest{Version: 12, Topics: topics}
	nested := &kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{{
		ReplicaAssignment: []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: make([]int32, 1000)}, {}},
		Configs:           make([]kmsg.CreateTopicsRequestTopicConfig, 3),
	}}}
	strings := &kmsg.DeleteTopicsRequest{Version: 5, TopicNames: make([]string, 10)}
	tagged := &kmsg.MetadataRequest{Version: 12, Topics: topics[:1]}
	tagged.UnknownTags.Set(100, nil)
	for name, c := range map[string]struct {
		req  kmsg.Request
		most int
	}{"flat": {flat, 10}, "nested": {nested, 6}, "strings": {strings, 10}, "tagged": {tagged, 1 + tagWeight}} {
		h := RequestHeader{Key: APIKey(c.req.Key()), Version: c.req.GetVersion()}
		body := c.req.AppendTo(nil)
		if _, err := DecodeRequestWithin(h, body, c.most); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := DecodeRequestWithin(h, body, c.most-1); !errors.Is(err, ErrTooManyElements) {
			t.Errorf("%s, one too many: %v", name, err)
		}
	}
}
