package zkmeta

import (
	"errors"
	"fmt"
)

// FeaturePath holds the finalized features of the cluster (KIP-584).
const FeaturePath = "/feature"

// Feature is the content of /feature. The epoch of the finalized features is the
// node's data version.
type Feature struct {
	// Version is 2; 1 with inter-broker protocols before 3.3.
	Version int32
	// Enabled is false with inter-broker protocols before 2.7.
	Enabled bool
	// Features are the finalized levels. A running Kafka broker that does not know
	// one of them shuts down at once, so this broker never writes any.
	Features map[string]int16
}

// Encode makes the node's data. It refuses finalized features.
func (f Feature) Encode() ([]byte, error) {
	if f.Version != 1 && f.Version != 2 {
		return nil, fmt.Errorf("features: unknown version %d", f.Version)
	}
	if len(f.Features) != 0 {
		return nil, errors.New("features: finalized features would stop brokers that do not know them")
	}
	status := 0
	if f.Enabled {
		status = 1
	}
	return encodeJSON(struct {
		Version  int32    `json:"version"`
		Status   int      `json:"status"`
		Features struct{} `json:"features"`
	}{Version: f.Version, Status: status})
}

// DecodeFeature reads the node's data, with the checks that Kafka makes. The error
// is a *MalformedError.
func DecodeFeature(data []byte) (Feature, error) {
	f, err := decodeFeature(data)
	if err != nil {
		return Feature{}, malformed(FeaturePath, data, err)
	}
	return f, nil
}

func decodeFeature(data []byte) (f Feature, err error) {
	o, err := decodeObject(data)
	if err != nil {
		return f, err
	}
	if f.Version, err = field[int32](o, "version"); err != nil {
		return f, err
	}
	if f.Version != 1 && f.Version != 2 {
		return f, fmt.Errorf("unsupported version %d", f.Version)
	}
	status, err := field[int32](o, "status")
	if err != nil {
		return f, err
	}
	if status != 0 && status != 1 {
		return f, fmt.Errorf("unknown status %d", status)
	}
	f.Enabled = status == 1
	levels, err := field[map[string]map[string]int16](o, "features")
	if err != nil {
		return f, err
	}
	f.Features = make(map[string]int16, len(levels))
	for name, level := range levels {
		highest, ok := level["max_version_level"]
		if !ok || highest < 1 {
			return f, fmt.Errorf("feature %q needs a max_version_level of at least 1", name)
		}
		lowest, ok := level["min_version_level"]
		if f.Version == 1 && (!ok || lowest < 1 || lowest > highest) {
			return f, fmt.Errorf("feature %q needs a min_version_level between 1 and %d", name, highest)
		}
		f.Features[name] = highest
	}
	return f, nil
}
