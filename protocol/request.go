package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stopReplicaKRaft is the version of StopReplica that says whether a KRaft
// controller has sent it (KIP-866). Kafka has that byte between the controller's
// id and its epoch, kmsg behind the epoch: read so, epoch 1 would be 256.
const stopReplicaKRaft = 4

// EncodeRequest appends a whole request to dst: size, header, body.
func EncodeRequest(dst []byte, correlationID int32, clientID string, req kmsg.Request) []byte {
	start := len(dst)
	key, version := APIKey(req.Key()), req.GetVersion()
	dst = append(dst, 0, 0, 0, 0) // the size, known below
	dst = binary.BigEndian.AppendUint16(dst, uint16(key))
	dst = binary.BigEndian.AppendUint16(dst, uint16(version))
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if key != ControlledShutdown || version != 0 {
		// Even in the flexible header the client id is no compact string.
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(clientID)))
		dst = append(dst, clientID...)
	}
	if req.IsFlexible() {
		dst = append(dst, 0) // no tagged fields
	}
	body := len(dst)
	dst = req.AppendTo(dst)
	if key == StopReplica && version == stopReplicaKRaft {
		epoch := [4]byte(dst[body+4:])
		dst[body+4] = dst[body+8]
		copy(dst[body+5:], epoch[:])
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// DecodeRequest decodes the body that ParseRequestHeader returned. Byte slices
// of the request alias body; strings are copies.
//
// The body is walked first along the request's shape, so that the decoder
// allocates only for elements whose bytes are really there: what it costs is at
// most some dozens of bytes for each byte of the body.
//
// Errors wrap ErrUnknownAPIKey for a key that no shape is known of, else
// ErrMalformed.
func DecodeRequest(h RequestHeader, body []byte) (kmsg.Request, error) {
	return DecodeRequestWithin(h, body, math.MaxInt)
}

// DecodeRequestWithin is DecodeRequest of a request whose arrays, nested ones
// included, have at most that many elements in all; arrays of numbers do not
// count. The smallest elements take a byte or two on the wire and a hundred times
// as much when they are decoded, looked up and answered.
//
// Beside the errors of DecodeRequest there is ErrTooManyElements.
func DecodeRequestWithin(h RequestHeader, body []byte, elements int) (kmsg.Request, error) {
	if err := checkShape(shapes[:], h.Key, h.Version, body, elements); err != nil {
		if errors.Is(err, ErrTooManyElements) {
			err = fmt.Errorf("%w: at most %d are taken", err, elements)
		}
		return nil, fmt.Errorf("decode %v request of version %d: %w", h.Key, h.Version, err)
	}
	if h.Key == StopReplica && h.Version == stopReplicaKRaft {
		body = slices.Clone(body) // its shape says that there are nine bytes
		kraft := body[4]
		copy(body[4:8], body[5:9])
		body[8] = kraft
	}
	req := kmsg.RequestForKey(int16(h.Key))
	if req == nil {
		return nil, fmt.Errorf("decode request with key %d: %w", int16(h.Key), ErrUnknownAPIKey)
	}
	req.SetVersion(h.Version)
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decode %v request of version %d: %w: %w", h.Key, h.Version, ErrMalformed, err)
	}
	return req, nil
}
