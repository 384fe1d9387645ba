package zkmeta

import (
	"fmt"
	"strconv"
)

const (
	// ControllerPath is the ephemeral node that the controller holds.
	ControllerPath = "/controller"
	// ControllerEpochPath counts elections. The version that it got at our election
	// fences every write of ours.
	ControllerEpochPath = "/controller_epoch"
)

// ControllerRegistration is the content of /controller.
type ControllerRegistration struct {
	BrokerID    int32
	TimestampMS int64
	// KRaftEpoch is above 0 when a KRaft quorum has taken over a cluster under
	// migration; -1 otherwise. Then nobody may stand for election or write configs.
	KRaftEpoch int32
}

// ByKRaft tells whether a KRaft controller holds the cluster.
func (c ControllerRegistration) ByKRaft() bool { return c.KRaftEpoch > 0 }

// Encode makes version 2 of the node's data.
func (c ControllerRegistration) Encode() ([]byte, error) {
	if c.BrokerID < 0 {
		return nil, fmt.Errorf("controller registration: broker id %d is negative", c.BrokerID)
	}
	return encodeJSON(struct {
		Version    int    `json:"version"`
		BrokerID   int32  `json:"brokerid"`
		Timestamp  string `json:"timestamp"`
		KRaftEpoch int32  `json:"kraftControllerEpoch"`
	}{2, c.BrokerID, strconv.FormatInt(c.TimestampMS, 10), c.KRaftEpoch})
}

// DecodeController reads the data of /controller; version 1, from before 3.4, has
// no KRaft epoch. The error is a *MalformedError.
func DecodeController(data []byte) (c ControllerRegistration, err error) {
	o, err := decodeObject(data)
	if err == nil {
		c.BrokerID, err = field[int32](o, "brokerid")
	}
	if err == nil {
		c.KRaftEpoch, err = fieldOr[int32](o, "kraftControllerEpoch", -1)
	}
	if err != nil {
		return ControllerRegistration{}, malformed(ControllerPath, data, err)
	}
	if text, err := fieldOr(o, "timestamp", ""); err == nil {
		c.TimestampMS, _ = strconv.ParseInt(text, 10, 64)
	}
	return c, nil
}

// EncodeControllerEpoch makes the data of /controller_epoch: a bare decimal.
func EncodeControllerEpoch(epoch int32) []byte {
	return strconv.AppendInt(nil, int64(epoch), 10)
}

// DecodeControllerEpoch reads the data of /controller_epoch.
func DecodeControllerEpoch(data []byte) (int32, error) {
	epoch, err := strconv.ParseInt(string(data), 10, 32)
	if err != nil {
		return 0, malformed(ControllerEpochPath, data, err)
	}
	return int32(epoch), nil
}
