package peer

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/traffic"
)

// FuzzResponse decodes frames that a broken peer may send in reply to any request.
func FuzzResponse(f *testing.F) {
	const id = 5
	update := kmsg.NewPtrUpdateMetadataRequest().Key()
	for _, frame := range [][]byte{
		{0, 0, 0, id, 0, 0, 0, 0},
		{0, 0, 0, id, 0, 0, 0, 0, 0},
		{0, 0, 0, id, 1, 3, 2, 'a', 'b', 0, 0, 0},
		{0, 0, 0, id, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1},
	} {
		f.Add(update, int16(8), frame)
	}
	f.Add(int16(kmsg.ApiVersions), int16(3), []byte{0, 0, 0, id, 0, 35, 0, 0, 0, 0}) // no such version
	for _, frame := range traffic.Kafka(f) {
		if frame.Reply {
			binary.BigEndian.PutUint32(frame.Bytes, id)
			f.Add(frame.Key, frame.Version, frame.Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, frame []byte) {
		req := kmsg.RequestForKey(key)
		if req == nil || version < 0 || version > req.MaxVersion() {
			return
		}
		req.SetVersion(version)
		resp, err := decode(frame, flight{call: &call{req: req}, id: id})
		if err != nil {
			return
		}
		refused := key == int16(kmsg.ApiVersions) && resp.GetVersion() == 0 // KIP-511
		if resp.Key() != key || resp.GetVersion() != version && !refused {
			t.Errorf("key %d, version %d", resp.Key(), resp.GetVersion())
		}
	})
}
