package broker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
)

type answer func() (*kmsg.ControlledShutdownResponse, error)

// What a broker that leaves is answered, and how it goes on. Names of controllers say
// who is asked; each answer is for the next try.
func TestDeparture(t *testing.T) {
	moved := func(remaining ...kmsg.ControlledShutdownResponsePartitionsRemaining) answer {
		return func() (*kmsg.ControlledShutdownResponse, error) {
			return &kmsg.ControlledShutdownResponse{PartitionsRemaining: remaining}, nil
		}
	}
	code := func(e *kerr.Error) answer {
		return func() (*kmsg.ControlledShutdownResponse, error) {
			return &kmsg.ControlledShutdownResponse{ErrorCode: e.Code}, nil
		}
	}
	lost := func() (*kmsg.ControlledShutdownResponse, error) { return nil, errors.New("connection refused") }
	stays := kmsg.ControlledShutdownResponsePartitionsRemaining{Topic: "t", Partition: 4}

	for name, tt := range map[string]struct {
		brokers   []int32 // alive; this one is 1
		disabled  bool
		answers   []answer
		successor time.Duration // after which broker 3 is controller, 0: never
		asked     []int32
		took      time.Duration
		says      string // in the log
	}{
		"at once":                       {brokers: []int32{1, 2, 3}, answers: []answer{moved()}, asked: []int32{2}, says: "handed over"},
		"alone":                         {brokers: []int32{1}},
		"disabled":                      {brokers: []int32{1, 2, 3}, disabled: true},
		"not all at once":               {brokers: []int32{1, 2, 3}, answers: []answer{moved(stays), moved()}, asked: []int32{2, 2}, took: 5 * time.Second, says: "t-4"},
		"never all":                     {brokers: []int32{1, 2, 3}, answers: []answer{moved(stays), moved(stays), moved(stays)}, asked: []int32{2, 2, 2}, took: 10 * time.Second, says: "without"},
		"a controller that is too old":  {brokers: []int32{1, 2, 3}, answers: []answer{code(kerr.UnsupportedVersion)}, asked: []int32{2}, says: "without"},
		"a controller that is gone":     {brokers: []int32{1, 2, 3}, answers: []answer{lost, moved()}, successor: time.Second, asked: []int32{2, 3}, took: time.Second, says: "handed over"},
		"a controller that was deposed": {brokers: []int32{1, 2, 3}, answers: []answer{code(kerr.NotController), moved()}, successor: time.Second, asked: []int32{2, 3}, took: time.Second, says: "handed over"},
		"a controller without heir":     {brokers: []int32{1, 2, 3}, answers: []answer{lost, lost, lost}, asked: []int32{2, 2, 2}, took: 10 * time.Second, says: "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				view := cluster.NewView()
				apply := func(controller int32) {
					u := cluster.Update{ControllerID: controller}
					for _, id := range tt.brokers {
						u.Brokers = append(u.Brokers, cluster.Broker{ID: id})
					}
					view.Apply(u)
				}
				apply(2)
				if tt.successor > 0 {
					time.AfterFunc(tt.successor, func() { apply(3) })
				}
				var asked []int32
				var log bytes.Buffer
				d := departure{
					id: 1, epoch: func() int64 { return 77 }, view: view, logger: slog.New(slog.NewTextHandler(&log, nil)),
					shutdown: config.Shutdown{Controlled: !tt.disabled, Tries: 3, RetryBackoff: 5 * time.Second},
					send: func(_ context.Context, controller int32, req kmsg.Request) (kmsg.Response, error) {
						if r := req.(*kmsg.ControlledShutdownRequest); r.BrokerID != 1 || r.BrokerEpoch != 77 {
							t.Errorf("%+v", r)
						}
						asked = append(asked, controller)
						return tt.answers[len(asked)-1]()
					},
				}
				began := time.Now()
				if err := d.announce(t.Context()); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if !slices.Equal(asked, tt.asked) {
					t.Errorf("asked %v, want %v", asked, tt.asked)
				}
				if !strings.Contains(log.String(), tt.says) || tt.says == "" && log.Len() > 0 {
					t.Errorf("said %q, want %q", log.String(), tt.says)
				}
			})
		})
	}
}
