package topics

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Delete marks topics for deletion and waits, at most timeout, until this broker's
// view has lost them. Errors are in the order of names: kerr.UnknownTopicOrPartition,
// or kerr.RequestTimedOut for a topic that is on its way out, as is every topic when
// timeout <= 0.
func (m *Manager) Delete(ctx context.Context, names []string, timeout time.Duration) []error {
	deadline := time.Now().Add(timeout)
	errs := make([]error, len(names))
	each(len(names), func(i int) { errs[i] = m.deleteOne(ctx, names[i]) })
	wanted := map[string]int32{}
	for i, name := range names {
		if errs[i] == nil {
			wanted[name] = 0
		}
	}
	missing := m.await(ctx, deadline, wanted, isGone)
	for i, name := range names {
		if errs[i] == nil && (timeout <= 0 || missing[name]) {
			errs[i] = kerr.RequestTimedOut
		}
	}
	return errs
}

// deleteOne asks for one deletion. A topic that this broker's view has lost is gone
// for its clients, although its znodes may still be there: to ask again could hit the
// next topic of that name.
func (m *Manager) deleteOne(ctx context.Context, name string) error {
	if _, known := m.view.Snapshot().Topic(name); !known {
		return kerr.UnknownTopicOrPartition
	}
	err := m.zk.RequestTopicDeletion(ctx, name)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return kerr.UnknownTopicOrPartition
	}
	if err == nil {
		m.cfg.Logger.Debug("asked for the deletion of a topic", "topic", name)
	}
	return err
}
