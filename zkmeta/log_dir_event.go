package zkmeta

import "fmt"

// LogDirEventsPath is the parent of the notifications by which a broker tells the
// controller that one of its log directories has failed.
const LogDirEventsPath = "/log_dir_event_notification"

const logDirEventPrefix = "log_dir_event_"

// EncodeLogDirEvent makes the data of a notification of a failed directory. It
// does not say which one: the controller asks the broker.
func EncodeLogDirEvent(brokerID int32) ([]byte, error) {
	if brokerID < 0 {
		return nil, fmt.Errorf("log directory event: broker id %d is negative", brokerID)
	}
	return encodeJSON(struct {
		Version int   `json:"version"`
		Broker  int32 `json:"broker"`
		Event   int   `json:"event"`
	}{1, brokerID, 1})
}

// DecodeLogDirEvent returns the broker that left the notification. The error is a
// *MalformedError.
func DecodeLogDirEvent(data []byte) (brokerID int32, err error) {
	o, err := decodeObject(data)
	if err == nil {
		brokerID, err = field[int32](o, "broker")
	}
	if err != nil {
		return 0, malformed(LogDirEventsPath+"/"+logDirEventPrefix, data, err)
	}
	return brokerID, nil
}
