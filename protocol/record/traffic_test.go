package record

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/traffic"
	"github.com/gracchus-mq/gracchus/protocol"
)

// recordedSets returns what real clients produced and what Kafka gave them to
// read: batches and messages of all formats and codecs.
func recordedSets(t testing.TB) [][]byte {
	t.Helper()
	var sets [][]byte
	for _, frame := range traffic.Requests(t, int16(protocol.Produce)) {
		_, body, err := protocol.ParseRequestHeader(frame.Bytes)
		req := kmsg.NewPtrProduceRequest()
		req.Version = frame.Version
		if err == nil {
			err = req.ReadFrom(body)
		}
		if err != nil {
			t.Fatalf("%s: %v", frame.Origin, err)
		}
		for _, topic := range req.Topics {
			for _, p := range topic.Partitions {
				sets = append(sets, p.Records)
			}
		}
	}
	for _, frame := range traffic.Replies(t, int16(protocol.Fetch)) {
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = frame.Version
		header := 4
		if resp.IsFlexible() {
			header++
		}
		if err := resp.ReadFrom(frame.Bytes[header:]); err != nil {
			t.Fatalf("%s: %v", frame.Origin, err)
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if len(p.RecordBatches) > 0 {
					sets = append(sets, p.RecordBatches)
				}
			}
		}
	}
	if len(sets) == 0 {
		t.Fatal("no records were recorded")
	}
	return sets
}

// recordedPayloads returns what real clients, and Kafka, have compressed with a codec.
func recordedPayloads(t testing.TB, codec Codec) [][]byte {
	t.Helper()
	var payloads [][]byte
	for _, set := range recordedSets(t) {
		for {
			b, rest, err := NextEntry(set)
			if err != nil {
				break
			}
			set = rest
			if b.Magic() == 2 {
				if b.Codec() == codec {
					payloads = append(payloads, b.Payload())
				}
				continue
			}
			m := Message(b)
			if _, value, ok := m.content(); ok && m.payloadCodec() == codec {
				payloads = append(payloads, value)
			}
		}
	}
	if len(payloads) == 0 {
		t.Fatalf("nothing was recorded that is compressed with %v", codec)
	}
	return payloads
}
