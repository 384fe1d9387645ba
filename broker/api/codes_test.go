package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestCodes(t *testing.T) {
	var logs logBuffer
	c := codes{log: slog.New(slog.NewTextHandler(&logs, nil))}
	for _, tt := range []struct {
		err     error
		code    int16
		message string // "" none
		logged  bool
	}{
		{nil, 0, "", false},
		{kerr.InvalidTopicException, 17, "", false},
		{fmt.Errorf("topic x: %w", kerr.InvalidTopicException), 17, "topic x", false},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", kerr.UnknownTopicOrPartition)), 3, "a: b", false},
		{withText("as it is", kerr.InvalidConfig), 40, "as it is", false},
		{fmt.Errorf("waiting: %w", context.DeadlineExceeded), 7, "", false},
		{context.Canceled, 8, "", false},
		{errors.New("disk on fire"), -1, "", true},
	} {
		code, message := c.withMessage(tt.err)
		text := ""
		if message != nil {
			text = *message
		}
		if code != tt.code || text != tt.message {
			t.Errorf("%v: code %d, message %q", tt.err, code, text)
		}
		if tt.logged != strings.Contains(logs.String(), "on fire") {
			t.Errorf("%v: log is %q", tt.err, logs.String())
		}
	}
}

// Clients learn codes as versions come: older ones get what they know.
func TestOffsetNotAvailableBeforeVersion5(t *testing.T) {
	h := listOffsets{}
	for version, want := range map[int16]int16{4: kerr.LeaderNotAvailable.Code, 5: kerr.OffsetNotAvailable.Code} {
		if got := h.code(version, fmt.Errorf("t-0: %w", kerr.OffsetNotAvailable)); got != want {
			t.Errorf("v%d: %d, want %d", version, got, want)
		}
	}
}
