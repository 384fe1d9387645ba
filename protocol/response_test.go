package protocol

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/traffic"
)

// Whatever kmsg writes, the shape must take to its last byte and no further, and kmsg
// must read it back through DecodeResponse.
func TestResponseShapesAgainstKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for key := range APIKey(len(responseShapes)) {
		for v := int16(0); v <= responseShapes[key].last && responseShapes[key].fields != nil; v++ {
			for range 30 {
				resp := kmsg.ResponseForKey(int16(key))
				fill(r, reflect.ValueOf(resp).Elem())
				resp.SetVersion(v)
				body := resp.AppendTo(nil)
				w := shapeWalker{left: math.MaxInt, rest: body, version: v, flexible: isFlexible(key, v)}
				if err := w.structure(responseShapes[key].fields); err != nil || len(w.rest) != 0 {
					t.Fatalf("%v version %d, %d bytes: %d left, %v\n%+v", key, v, len(body), len(w.rest), err, resp)
				}
				got := resp.RequestKind().ResponseKind()
				got.SetVersion(v)
				if err := DecodeResponse(got, body); err != nil {
					t.Fatalf("%v version %d: %v", key, v, err)
				}
				if again := got.AppendTo(nil); !bytes.Equal(again, body) {
					t.Fatalf("%v version %d: %x\nbecame %x", key, v, body, again)
				}
				if err := DecodeResponse(got, body[:r.IntN(len(body))]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%v version %d, cut off: %v", key, v, err)
				}
			}
		}
	}
}

// What Kafka answers is taken.
func TestDecodeResponseOfKafka(t *testing.T) {
	decoded := 0
	for _, frame := range traffic.Kafka(t) {
		if !frame.Reply || int(frame.Key) >= len(responseShapes) || responseShapes[frame.Key].fields == nil {
			continue
		}
		if frame.Version > responseShapes[frame.Key].last {
			continue // a version of ApiVersions that is refused, in version 0
		}
		resp := kmsg.ResponseForKey(frame.Key)
		resp.SetVersion(frame.Version)
		body := frame.Bytes[4:]
		if isFlexible(APIKey(frame.Key), frame.Version) && APIKey(frame.Key) != ApiVersions {
			var err error
			if body, err = skipTags(body); err != nil {
				t.Fatalf("%s: %v", frame.Origin, err)
			}
		}
		if err := DecodeResponse(resp, body); err != nil {
			t.Errorf("%s: %v", frame.Origin, err)
		}
		decoded++
	}
	if decoded < 20 {
		t.Errorf("%d responses were there", decoded)
	}
}

// Tagged fields that are not there cost no time, however many are claimed.
func TestDecodeResponseIsCheapForLiars(t *testing.T) {
	for key := range APIKey(len(responseShapes)) {
		s := &responseShapes[key]
		if s.fields == nil || !isFlexible(key, s.last) {
			continue
		}
		resp := kmsg.ResponseForKey(int16(key))
		resp.SetVersion(s.last)
		body := resp.AppendTo(nil)
		start := time.Now()
		err := DecodeResponse(resp, append(body[:len(body)-1], 0xff, 0xff, 0xff, 0xff, 0x0f))
		if took := time.Since(start); took > time.Second || !errors.Is(err, ErrMalformed) {
			t.Fatalf("%v: %v after %v", key, err, took)
		}
	}
	resp := kmsg.NewPtrMetadataResponse()
	if err := DecodeResponse(resp, resp.AppendTo(nil)); !errors.Is(err, ErrUnknownAPIKey) {
		t.Errorf("what brokers do not send each other: %v", err)
	}
}
