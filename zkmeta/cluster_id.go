package zkmeta

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
)

// ClusterIDPath holds the id that the first broker of a cluster made up.
const ClusterIDPath = "/cluster/id"

// NewClusterID makes up a cluster id as Kafka does: the 16 bytes of a random UUID
// in base64url without padding, 22 characters.
func NewClusterID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// EncodeClusterID makes the node's data. The version is a string here, and only
// here.
func EncodeClusterID(id string) ([]byte, error) {
	if id == "" {
		return nil, errors.New("cluster id is empty")
	}
	return encodeJSON(struct {
		Version string `json:"version"`
		ID      string `json:"id"`
	}{"1", id})
}

// DecodeClusterID reads the node's data. The error is a *MalformedError.
func DecodeClusterID(data []byte) (string, error) {
	o, err := decodeObject(data)
	if err != nil {
		return "", malformed(ClusterIDPath, data, err)
	}
	id, err := field[string](o, "id")
	if err == nil && id == "" {
		err = errors.New("the id is empty")
	}
	if err != nil {
		return "", malformed(ClusterIDPath, data, err)
	}
	return id, nil
}
