package zkmeta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// changeExpiration is how long a change notification is kept, the same in every
// broker. A broker that sees one of this age by its own clock deletes it.
const changeExpiration = 15 * time.Minute

// NotifyConfigChange tells all brokers to read the configuration of an entity again.
// If the reply is lost there may be two notifications, which does no harm.
func (c *Client) NotifyConfigChange(ctx context.Context, entity ConfigEntity) error {
	data, err := EncodeConfigChange(entity)
	if err == nil {
		err = c.ensurePath(ctx, ConfigChangesPath)
	}
	if err == nil {
		_, err = c.do1(ctx, session.Create(ConfigChangesPath+"/"+configChangePrefix, data, session.PersistentSequential))
	}
	if err != nil {
		return fmt.Errorf("notify of the configuration of %v: %w", entity, err)
	}
	return nil
}

// ConfigChanges follows the notifications of changed configurations. One goroutine
// owns it.
//
// It remembers which notifications it has given out by name and not by the highest
// number, as Kafka does: numbers begin again at 0 when the parent is made again, and
// turn negative after 2^31-1, and a follower of the highest number would then miss
// all later changes.
type ConfigChanges struct {
	c      *Client
	parent int64            // czxid of the parent that the names are from
	seen   map[string]int64 // name to creation time in ms
}

// ConfigChanges returns a follower that has not given out anything: its first Next
// returns all notifications that there are, as every broker replays them at start.
func (c *Client) ConfigChanges() *ConfigChanges {
	return &ConfigChanges{c: c, seen: map[string]int64{}}
}

// Next returns the entities named by the notifications that were not returned
// before, in the order in which these were made, each once, and deletes
// notifications that are too old. Notifications that cannot be read are skipped and
// returned as malformed. w fires when there is more to read. After an error Next may
// be called again.
func (n *ConfigChanges) Next(ctx context.Context, w *session.Watch) (changed []ConfigEntity, malformed []error, err error) {
	r, err := n.c.do1(ctx, session.Children(ConfigChangesPath, w))
	if errors.Is(err, session.ErrNoNode) {
		if err = n.c.ensurePath(ctx, ConfigChangesPath); err == nil {
			r, err = n.c.do1(ctx, session.Children(ConfigChangesPath, w))
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list the configuration changes: %w", err)
	}
	if r.Stat.Czxid != n.parent {
		n.parent, n.seen = r.Stat.Czxid, map[string]int64{}
	}
	fresh, malformed, err := n.readUnseen(ctx, r.Children)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range fresh {
		n.seen[f.name] = f.stat.Ctime
		e, err := DecodeConfigChange(f.data)
		if err != nil {
			malformed = append(malformed, fmt.Errorf("notification %s: %w", f.name, err))
		} else if !slices.Contains(changed, e) {
			changed = append(changed, e)
		}
	}
	n.prune(ctx, r.Children)
	return changed, malformed, nil
}

// readUnseen reads the notifications that are not yet known, oldest first.
func (n *ConfigChanges) readUnseen(ctx context.Context, names []string) (fresh []notification, malformed []error, err error) {
	var unseen []string
	for _, name := range names {
		if _, ok := n.seen[name]; ok {
			continue
		}
		if _, err := sequenceNumber(name, configChangePrefix); err != nil {
			// Not a notification. Whoever put it there blinds Kafka brokers, not us.
			malformed = append(malformed, fmt.Errorf("in %s: %w", ConfigChangesPath, err))
			continue
		}
		unseen = append(unseen, name)
	}
	fresh, err = n.c.readNotifications(ctx, ConfigChangesPath, unseen)
	return fresh, malformed, err
}

// prune deletes old notifications and forgets those that are gone. Every broker does
// so; a delete that fails is another's success, or the next round's work.
func (n *ConfigChanges) prune(ctx context.Context, names []string) {
	current := make(map[string]bool, len(names))
	for _, name := range names {
		current[name] = true
	}
	oldest := time.Now().Add(-changeExpiration).UnixMilli()
	var deletes []session.Op
	for name, ctime := range n.seen {
		if !current[name] {
			delete(n.seen, name)
		} else if ctime < oldest {
			deletes = append(deletes, session.Delete(ConfigChangesPath+"/"+name, session.AnyVersion))
		}
	}
	if len(deletes) > 0 {
		n.c.zk.Do(ctx, n.c.in, deletes...)
	}
}

// notification is a sequential node that was read.
type notification struct {
	name string
	data []byte
	stat session.Stat
}

// readNotifications reads nodes of parent in the order of their creation; nodes that
// were deleted meanwhile are left out.
func (c *Client) readNotifications(ctx context.Context, parent string, names []string) ([]notification, error) {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = parent + "/" + name
	}
	var read []notification
	for i, r := range c.gets(ctx, paths, nil) {
		if errors.Is(r.Err, session.ErrNoNode) {
			continue
		}
		if r.Err != nil {
			return nil, fmt.Errorf("read notification %s: %w", paths[i], r.Err)
		}
		read = append(read, notification{names[i], r.Data, r.Stat})
	}
	slices.SortFunc(read, func(a, b notification) int { return cmp.Compare(a.stat.Czxid, b.stat.Czxid) })
	return read, nil
}

// NotifyLogDirFailure tells the controller that a log directory of a broker failed.
func (c *Client) NotifyLogDirFailure(ctx context.Context, brokerID int32) error {
	data, err := EncodeLogDirEvent(brokerID)
	if err == nil {
		_, err = c.do1(ctx, session.Create(LogDirEventsPath+"/"+logDirEventPrefix, data, session.PersistentSequential))
	}
	if err != nil {
		return fmt.Errorf("notify of a failed log directory: %w", err)
	}
	return nil
}

// LogDirEvents reads which brokers have reported a failed log directory. names are
// the notifications, for DeleteLogDirEvents; those that cannot be read are among
// them, so that they go too. w fires when there is another.
func (c *Client) LogDirEvents(ctx context.Context, w *session.Watch) (brokers []int32, names []string, err error) {
	names, err = c.children(ctx, LogDirEventsPath, w)
	if err != nil {
		return nil, nil, fmt.Errorf("list the log directory events: %w", err)
	}
	read, err := c.readNotifications(ctx, LogDirEventsPath, names)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range read {
		if id, err := DecodeLogDirEvent(n.data); err == nil && !slices.Contains(brokers, id) {
			brokers = append(brokers, id)
		}
	}
	return brokers, names, nil
}

// DeleteLogDirEvents removes notifications as the controller.
func (c *Client) DeleteLogDirEvents(ctx context.Context, claim Claim, names []string) error {
	return c.deleteNotifications(ctx, claim, LogDirEventsPath, names)
}

// ISRChanges reads which partitions' ISRs were changed by leaders of older releases.
// names are the notifications, for DeleteISRChanges. w fires when there is another.
func (c *Client) ISRChanges(ctx context.Context, w *session.Watch) (partitions []protocol.TopicPartition, names []string, err error) {
	names, err = c.children(ctx, ISRChangesPath, w)
	if err != nil {
		return nil, nil, fmt.Errorf("list the ISR changes: %w", err)
	}
	read, err := c.readNotifications(ctx, ISRChangesPath, names)
	if err != nil {
		return nil, nil, err
	}
	seen := map[protocol.TopicPartition]bool{}
	for _, n := range read {
		changed, _ := DecodeISRChange(n.data) // unreadable ones are deleted with the others
		for _, tp := range changed {
			if !seen[tp] {
				seen[tp] = true
				partitions = append(partitions, tp)
			}
		}
	}
	return partitions, names, nil
}

// DeleteISRChanges removes notifications as the controller.
func (c *Client) DeleteISRChanges(ctx context.Context, claim Claim, names []string) error {
	return c.deleteNotifications(ctx, claim, ISRChangesPath, names)
}

func (c *Client) deleteNotifications(ctx context.Context, claim Claim, parent string, names []string) error {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = parent + "/" + name
	}
	if err := c.fencedDelete(ctx, claim, paths); err != nil {
		return fmt.Errorf("delete notifications in %s: %w", parent, err)
	}
	return nil
}
