package peer

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzResponse decodes frames that a broken peer may send.
func FuzzResponse(f *testing.F) {
	req := kmsg.NewPtrUpdateMetadataRequest()
	req.SetVersion(8)
	f.Add([]byte{0, 0, 0, 5, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 5, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 5, 1, 3, 2, 'a', 'b', 0, 0, 0})
	f.Add([]byte{0, 0, 0, 5, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, frame []byte) {
		resp, err := decode(frame, flight{call: &call{req: req}, id: 5})
		if err == nil && resp.GetVersion() != 8 {
			t.Errorf("version %d", resp.GetVersion())
		}
	})
}
