package protocol

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/traffic"
)

// TestHeadersAgainstKmsg encodes the header of every key and version, and
// compares what has tagged fields with kmsg.
func TestHeadersAgainstKmsg(t *testing.T) {
	keys := 0
	for key := APIKey(0); int(key) < len(firstFlexible); key++ {
		req := kmsg.RequestForKey(int16(key))
		if req == nil {
			continue // kmsg leaves out a few that only KRaft's controllers use
		}
		keys++
		for v := int16(0); v <= req.MaxVersion(); v++ {
			req.SetVersion(v)
			if isFlexible(key, v) != req.IsFlexible() {
				t.Errorf("%v version %d: flexible %v", key, v, isFlexible(key, v))
			}
			frame := EncodeRequest(nil, 7, "client", req)
			formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client"))
			// kmsg forgets size and body of the one request without client id.
			bare := key == ControlledShutdown && v == 0
			if want := formatter.AppendRequest(nil, req, 7); !bare && !bytes.Equal(frame, want) {
				t.Errorf("%v version %d: %x, want %x", key, v, frame, want)
			}
			h, body, err := ParseRequestHeader(frame[4:])
			hasClient := key != ControlledShutdown || v != 0
			wantHeader := RequestHeader{Key: key, Version: v, CorrelationID: 7, HasClientID: hasClient}
			if hasClient {
				wantHeader.ClientID = "client"
			}
			if err != nil || h != wantHeader || !bytes.Equal(body, req.AppendTo(nil)) {
				t.Errorf("%v version %d: %+v, body %x, %v", key, v, h, body, err)
			}
			response := AppendResponseHeader([]byte{9}, key, v, 0x01020304)
			wantResponse := []byte{9, 1, 2, 3, 4}
			if key != ApiVersions && req.ResponseKind().IsFlexible() {
				wantResponse = append(wantResponse, 0)
			}
			if !bytes.Equal(response, wantResponse) {
				t.Errorf("%v version %d: response header %x, want %x", key, v, response, wantResponse)
			}
		}
	}
	if keys < 80 {
		t.Errorf("only %d keys compared", keys)
	}
}

func TestEncodeRequestAppends(t *testing.T) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	one := EncodeRequest(nil, 1, "c", req)
	two := EncodeRequest(bytes.Clone(one), 1, "c", req)
	if !bytes.Equal(two, append(bytes.Clone(one), one...)) {
		t.Errorf("%x appended to itself is %x", one, two)
	}
}

func TestParseRequestHeaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame string
		err   error
	}{
		{"empty", "", ErrMalformed},
		{"no correlation id", "\x00\x03\x00\x00\x00\x00\x00", ErrMalformed},
		{"unknown key", "\x03\xe8\x00\x02\x00\x00\x00\x05", ErrUnknownAPIKey},
		{"negative key", "\xff\xff\x00\x02\x00\x00\x00\x05", ErrUnknownAPIKey},
		{"negative version", "\x00\x03\xff\xff\x00\x00\x00\x05\x00\x00", ErrMalformed},
		{"no client id", "\x00\x03\x00\x00\x00\x00\x00\x05", ErrMalformed},
		{"client id cut off", "\x00\x03\x00\x00\x00\x00\x00\x05\x00\x03ab", ErrMalformed},
		{"no tags", "\x00\x03\x00\x09\x00\x00\x00\x05\xff\xff", ErrMalformed},
		{"tags cut off", "\x00\x03\x00\x09\x00\x00\x00\x05\xff\xff\x01\x00\x05ab", ErrMalformed},
		{"four billion tags", "\x00\x03\x00\x09\x00\x00\x00\x05\xff\xff\xff\xff\xff\xff\x0f", ErrMalformed},
		{"tag count of 36 bits", "\x00\x03\x00\x09\x00\x00\x00\x05\xff\xff\xff\xff\xff\xff\x1f", ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, body, err := ParseRequestHeader([]byte(c.frame))
			if !errors.Is(err, c.err) || body != nil {
				t.Errorf("%+v, %v, %v", h, body, err)
			}
			if errors.Is(err, ErrUnknownAPIKey) && (h.Version != 2 || h.CorrelationID != 5) {
				t.Errorf("%+v: version and correlation id are missing", h)
			}
		})
	}
}

func TestParseRequestHeaderSkipsTags(t *testing.T) {
	h, body, err := ParseRequestHeader([]byte("\x00\x03\x00\x09\x00\x00\x00\x05\x00\x00\x02\x00\x02ab\x80\x01\x00body"))
	if err != nil || string(body) != "body" || !h.HasClientID || h.ClientID != "" {
		t.Errorf("%+v, %q, %v", h, body, err)
	}
}

func TestParseRequestHeaderReusesClientID(t *testing.T) {
	frame := EncodeRequest(nil, 1, "a client with a long id", kmsg.NewPtrMetadataRequest())[4:]
	h, _, _ := ParseRequestHeader(frame)
	allocs := testing.AllocsPerRun(100, func() {
		again, _, err := ParseRequestHeaderReusing(frame, h.ClientID)
		if err != nil || again != h {
			t.Fatal(again, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestAPIKeyNames(t *testing.T) {
	for key, want := range map[APIKey]string{Produce: "Produce", ApiVersions: "ApiVersions", 93: "StreamsGroupTopologyDescriptionUpdate", 94: "APIKey(94)", -1: "APIKey(-1)"} {
		if got := key.String(); got != want {
			t.Errorf("key %d is %q, want %q", int16(key), got, want)
		}
	}
}

func FuzzParseRequestHeader(f *testing.F) {
	for _, v := range []int16{0, 9} {
		req := kmsg.NewPtrMetadataRequest()
		req.SetVersion(v)
		f.Add(EncodeRequest(nil, 1, "c", req)[4:])
	}
	f.Add([]byte{0, 7, 0, 0, 0, 0, 0, 1})
	for _, frame := range traffic.Kafka(f) {
		if !frame.Reply {
			f.Add(frame.Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := ParseRequestHeader(frame)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(frame, body) || len(h.ClientID) > len(frame) {
			t.Fatalf("%+v, %x", h, body)
		}
	})
}
