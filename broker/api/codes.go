package api

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/cluster/peer"
)

// codes turns errors into the protocol's error codes. It is the only place that
// does. Errors that are none of Kafka's become UNKNOWN_SERVER_ERROR; as the
// client learns nothing else of them, they are logged here.
type codes struct {
	log *slog.Logger
}

// of returns the code of err, 0 for nil.
func (c codes) of(err error) int16 {
	if err == nil {
		return 0
	}
	var known *kerr.Error // below, so that success does not allocate
	switch {
	case errors.As(err, &known):
		return known.Code
	case errors.Is(err, context.DeadlineExceeded):
		return kerr.RequestTimedOut.Code
	case errors.Is(err, context.Canceled), errors.Is(err, peer.ErrStopped):
		return kerr.BrokerNotAvailable.Code // we stop: the client will look for another
	}
	c.log.Error("request failed", "error", err)
	return kerr.UnknownServerError.Code
}

// withMessage returns the code and the text to go with it: nil where the error
// says no more than its code does.
func (c codes) withMessage(err error) (int16, *string) {
	return c.of(err), message(err)
}

// message is the error's text without what the client sees from the code.
func message(err error) *string {
	var known *kerr.Error
	if !errors.As(err, &known) {
		return nil
	}
	text, cut := strings.CutSuffix(err.Error(), known.Error())
	if cut {
		text = strings.TrimSuffix(text, ": ")
	}
	if text == "" {
		return nil
	}
	return &text
}

// stringPtr is for the nullable strings of responses.
func stringPtr(s string) *string { return &s }

// olderFenced is what a code is in versions that do not have PRODUCER_FENCED.
func olderFenced(code int16) int16 {
	if code == kerr.ProducerFenced.Code {
		return kerr.InvalidProducerEpoch.Code
	}
	return code
}

// transactionCode is the code of an error of AddPartitionsToTxn, AddOffsetsToTxn or
// EndTxn in a version.
func (c codes) transactionCode(version int16, err error) int16 {
	code := c.of(err)
	if version < 2 {
		code = olderFenced(code)
	}
	return code
}
