package protocol

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DecodeResponse decodes the body of a response, what follows its header, into resp,
// whose version is set and stands. Byte slices of resp alias body; strings are copies.
//
// As DecodeRequest does, it walks the body first: the decoder would loop for as many
// tagged fields as a broken peer claims.
//
// Errors wrap ErrUnknownAPIKey if the request is none that brokers send each other,
// else ErrMalformed.
func DecodeResponse(resp kmsg.Response, body []byte) error {
	key, version := APIKey(resp.Key()), resp.GetVersion()
	if err := checkShape(responseShapes[:], key, version, body, math.MaxInt); err != nil {
		return fmt.Errorf("decode response to %v of version %d: %w", key, version, err)
	}
	if err := resp.ReadFrom(body); err != nil {
		return fmt.Errorf("decode response to %v of version %d: %w: %w", key, version, ErrMalformed, err)
	}
	return nil
}
