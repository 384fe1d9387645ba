package zkmeta

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// ProducerIDBlockPath holds the last block of producer ids that was given out. It
// must exist; without data it means that none was given out yet.
const ProducerIDBlockPath = "/latest_producer_id_block"

// ProducerIDBlockSize is the number of ids in a block, the same in every broker.
const ProducerIDBlockSize = 1000

// ProducerIDBlock is a range of producer ids that one broker may give out.
type ProducerIDBlock struct {
	BrokerID int32
	First    int64
	Last     int64 // included
}

// ErrProducerIDsExhausted is returned when no block of ids is left.
var ErrProducerIDsExhausted = errors.New("zkmeta: all producer ids are used up")

// next is the block after b for broker id. A nil b means that none was given out.
func (b *ProducerIDBlock) next(brokerID int32) (ProducerIDBlock, error) {
	if b == nil {
		return ProducerIDBlock{BrokerID: brokerID, First: 0, Last: ProducerIDBlockSize - 1}, nil
	}
	if b.Last > math.MaxInt64-ProducerIDBlockSize {
		return ProducerIDBlock{}, ErrProducerIDsExhausted
	}
	return ProducerIDBlock{BrokerID: brokerID, First: b.Last + 1, Last: b.Last + ProducerIDBlockSize}, nil
}

// Encode makes the node's data. Both bounds are strings.
func (b ProducerIDBlock) Encode() ([]byte, error) {
	if b.BrokerID < 0 || b.First < 0 || b.Last < b.First {
		return nil, fmt.Errorf("producer id block %d..%d of broker %d makes no sense", b.First, b.Last, b.BrokerID)
	}
	return encodeJSON(struct {
		Version int    `json:"version"`
		Broker  int32  `json:"broker"`
		First   string `json:"block_start"`
		Last    string `json:"block_end"`
	}{1, b.BrokerID, strconv.FormatInt(b.First, 10), strconv.FormatInt(b.Last, 10)})
}

// DecodeProducerIDBlock reads the node's data, which must not be nil. The error is
// a *MalformedError.
func DecodeProducerIDBlock(data []byte) (ProducerIDBlock, error) {
	b, err := decodeProducerIDBlock(data)
	if err != nil {
		return ProducerIDBlock{}, malformed(ProducerIDBlockPath, data, err)
	}
	return b, nil
}

func decodeProducerIDBlock(data []byte) (b ProducerIDBlock, err error) {
	o, err := decodeObject(data)
	if err != nil {
		return b, err
	}
	if b.BrokerID, err = field[int32](o, "broker"); err != nil {
		return b, err
	}
	bound := func(key string) (int64, error) {
		text, err := field[string](o, key)
		if err != nil {
			return 0, err
		}
		return strconv.ParseInt(text, 10, 64)
	}
	if b.First, err = bound("block_start"); err != nil {
		return b, err
	}
	if b.Last, err = bound("block_end"); err != nil {
		return b, err
	}
	if b.First < 0 || b.Last < b.First {
		return b, fmt.Errorf("block %d..%d makes no sense", b.First, b.Last)
	}
	return b, nil
}
