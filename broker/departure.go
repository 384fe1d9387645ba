package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
)

// departure has the controller move what this broker leads to other brokers, before
// it stops (ControlledShutdown). Without it partitions would be without a leader until
// the controller has noticed. It never keeps a broker from stopping: what could not be
// moved fails over, as after a crash.
type departure struct {
	id       int32
	epoch    func() int64
	shutdown config.Shutdown
	view     *cluster.View
	send     func(ctx context.Context, controller int32, req kmsg.Request) (kmsg.Response, error)
	logger   *slog.Logger
}

// announce returns when nothing is left to move, or the tries are used up, and always
// nil. A broker that is alone has nobody to move anything to.
func (d *departure) announce(ctx context.Context) error {
	if !d.shutdown.Controlled || d.alone(d.view.Snapshot()) {
		return nil
	}
	began := time.Now()
	var err error
	for try := range d.shutdown.Tries {
		controller := d.view.Snapshot().ControllerID()
		if err = d.ask(ctx, controller); err == nil {
			d.logger.Info("leaderships are handed over to other brokers", "took", time.Since(began).Round(time.Millisecond))
			return nil
		}
		if errors.Is(err, kerr.UnsupportedVersion) || try == d.shutdown.Tries-1 {
			break
		}
		d.logger.Info("leaderships are not handed over yet", "reason", err, "again in at most", d.shutdown.RetryBackoff)
		if d.pause(ctx, controller) {
			break
		}
	}
	d.logger.Warn("stopping without having handed over all leaderships", "reason", err)
	return nil
}

func (d *departure) alone(s *cluster.Snapshot) bool {
	for _, b := range s.Brokers() {
		if b.ID != d.id {
			return false
		}
	}
	return true
}

// ask asks the controller once.
func (d *departure) ask(ctx context.Context, controller int32) error {
	if controller < 0 {
		return errors.New("no controller is known")
	}
	req := kmsg.NewPtrControlledShutdownRequest()
	req.BrokerID, req.BrokerEpoch = d.id, d.epoch()
	answer, err := d.send(ctx, controller, req)
	if err != nil {
		return fmt.Errorf("controller %d: %w", controller, err)
	}
	resp := answer.(*kmsg.ControlledShutdownResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fmt.Errorf("controller %d: %w", controller, err)
	}
	if n := len(resp.PartitionsRemaining); n > 0 {
		p := resp.PartitionsRemaining[0]
		return fmt.Errorf("controller %d found no other leader for %s-%d and %d more", controller, p.Topic, p.Partition, n-1)
	}
	return nil
}

// pause waits before the next try, no longer than until there is another controller.
// It reports true if there is nothing more to try.
func (d *departure) pause(ctx context.Context, controller int32) bool {
	bounded, cancel := context.WithTimeout(ctx, d.shutdown.RetryBackoff)
	defer cancel()
	s, _ := d.view.Wait(bounded, func(s *cluster.Snapshot) bool {
		return d.alone(s) || s.ControllerID() >= 0 && s.ControllerID() != controller
	})
	return ctx.Err() != nil || d.alone(s)
}
