package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	// ErrUnknownAPIKey says that a request's key has no known header, so that
	// nothing after the correlation id can be read. Kafka closes the connection.
	ErrUnknownAPIKey = errors.New("unknown API key")
	// ErrMalformed says that bytes from a peer are not what the protocol
	// prescribes at that place.
	ErrMalformed = errors.New("malformed")
	// ErrTooManyElements says that a request has more elements in its arrays than
	// the receiver wants to decode.
	ErrTooManyElements = errors.New("too many elements in the request's arrays")
)

// RequestHeader is what stands before the body of every request (KIP-482 for
// the flexible form).
type RequestHeader struct {
	Key           APIKey
	Version       int16
	CorrelationID int32
	// ClientID is empty both for an empty and for an absent id.
	ClientID    string
	HasClientID bool
}

// neverFlexible marks keys whose headers carry no tagged fields in any version.
const neverFlexible = 127

// firstFlexible holds, by API key, the first version whose request and response
// carry tagged fields in their headers (the ApiVersions response excepted). A
// test compares it with kmsg.
var firstFlexible = [...]int8{
	Produce: 9, Fetch: 12, ListOffsets: 6, Metadata: 9,
	LeaderAndIsr: 4, StopReplica: 2, UpdateMetadata: 6, ControlledShutdown: 3,
	OffsetCommit: 8, OffsetFetch: 6, FindCoordinator: 3, JoinGroup: 6,
	Heartbeat: 4, LeaveGroup: 4, SyncGroup: 4, DescribeGroups: 5,
	ListGroups: 3, SaslHandshake: neverFlexible, ApiVersions: 3, CreateTopics: 5,
	DeleteTopics: 4, DeleteRecords: 2, InitProducerId: 2, OffsetForLeaderEpoch: 4,
	AddPartitionsToTxn: 3, AddOffsetsToTxn: 3, EndTxn: 3, WriteTxnMarkers: 1,
	TxnOffsetCommit: 3, DescribeAcls: 2, CreateAcls: 2, DeleteAcls: 2,
	DescribeConfigs: 4, AlterConfigs: 2, AlterReplicaLogDirs: 2, DescribeLogDirs: 2,
	SaslAuthenticate: 2, CreatePartitions: 2, CreateDelegationToken: 2, RenewDelegationToken: 2,
	ExpireDelegationToken: 2, DescribeDelegationToken: 2, DeleteGroups: 2, ElectLeaders: 2,
	IncrementalAlterConfigs: 1, OffsetDelete: neverFlexible, DescribeClientQuotas: 1, AlterClientQuotas: 1,
	BeginQuorumEpoch: 1, EndQuorumEpoch: 1,
	StreamsGroupTopologyDescriptionUpdate: 0, // the last key; all that are not listed are flexible from 0
}

func isFlexible(key APIKey, version int16) bool { return version >= int16(firstFlexible[key]) }

// ParseRequestHeader splits a frame, without its four bytes of size, into header
// and body; the body aliases the frame.
//
// If the key is unknown the error wraps ErrUnknownAPIKey, and key, version and
// correlation id of the header are set. A frame that ends too early, or whose
// tagged fields do not fit, gives ErrMalformed.
func ParseRequestHeader(frame []byte) (h RequestHeader, body []byte, err error) {
	return ParseRequestHeaderReusing(frame, "")
}

// ParseRequestHeaderReusing is ParseRequestHeader for connections, whose
// requests nearly always carry the same client id: if the frame's equals
// clientID, that string is used and nothing is allocated.
func ParseRequestHeaderReusing(frame []byte, clientID string) (h RequestHeader, body []byte, err error) {
	if len(frame) < 8 {
		return h, nil, fmt.Errorf("request header of %d bytes: %w", len(frame), ErrMalformed)
	}
	h.Key = APIKey(binary.BigEndian.Uint16(frame))
	h.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	rest := frame[8:]
	if h.Key < 0 || int(h.Key) >= len(firstFlexible) {
		return h, nil, fmt.Errorf("request with key %d, version %d: %w", int16(h.Key), h.Version, ErrUnknownAPIKey)
	}
	if h.Version < 0 && h.Key != ApiVersions { // to ApiVersions any version is one that is not known
		return h, nil, fmt.Errorf("%s request with version %d: %w", h.Key, h.Version, ErrMalformed)
	}
	if h.Key == ControlledShutdown && h.Version == 0 {
		return h, rest, nil // the one request that has no client id
	}
	if len(rest) < 2 {
		return h, nil, fmt.Errorf("%s request without client id: %w", h.Key, ErrMalformed)
	}
	n := int(int16(binary.BigEndian.Uint16(rest)))
	rest = rest[2:]
	if n >= 0 {
		if n > len(rest) {
			return h, nil, fmt.Errorf("%s request with a client id of %d bytes, %d left: %w", h.Key, n, len(rest), ErrMalformed)
		}
		h.HasClientID = true
		if string(rest[:n]) == clientID { // compares in place
			h.ClientID = clientID
		} else {
			h.ClientID = string(rest[:n])
		}
		rest = rest[n:]
	}
	if isFlexible(h.Key, h.Version) {
		if rest, err = skipTags(rest); err != nil {
			return h, nil, fmt.Errorf("%s request, tagged fields of the header: %w", h.Key, err)
		}
	}
	return h, rest, nil
}

// skipTags steps over a section of tagged fields. Each field takes at least two
// bytes, which bounds the loop whatever the count claims.
func skipTags(b []byte) ([]byte, error) {
	count, b, err := uvarint(b)
	if err != nil {
		return nil, err
	}
	if uint64(count)*2 > uint64(len(b)) {
		return nil, fmt.Errorf("%d tagged fields in %d bytes: %w", count, len(b), ErrMalformed)
	}
	for range count {
		var size uint32
		if _, b, err = uvarint(b); err != nil {
			return nil, err
		}
		if size, b, err = uvarint(b); err != nil {
			return nil, err
		}
		if uint64(size) > uint64(len(b)) {
			return nil, fmt.Errorf("tagged field of %d bytes, %d left: %w", size, len(b), ErrMalformed)
		}
		b = b[size:]
	}
	return b, nil
}

// uvarint reads Kafka's unsigned varint, which has at most 32 bits.
func uvarint(b []byte) (v uint32, rest []byte, err error) {
	for i := range b {
		if i == 4 && b[i] > 0x0f || i == 5 {
			return 0, nil, fmt.Errorf("varint of more than 32 bits: %w", ErrMalformed)
		}
		v |= uint32(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, b[i+1:], nil
		}
	}
	return 0, nil, fmt.Errorf("varint is cut off: %w", ErrMalformed)
}

// AppendResponseHeader appends the header of the response to a request of that
// key and version; it does not write the four bytes of size. The response to
// ApiVersions never has tagged fields in its header, so that a client can read
// it before it knows the broker's versions (KIP-511).
func AppendResponseHeader(dst []byte, key APIKey, version int16, correlationID int32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if key != ApiVersions && isFlexible(key, version) {
		dst = append(dst, 0)
	}
	return dst
}
