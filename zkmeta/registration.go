package zkmeta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// ErrBrokerIDInUse is returned by RegisterBroker when another process has
// registered the id.
var ErrBrokerIDInUse = errors.New("zkmeta: the broker id is registered by another process")

// LiveBroker is a registered broker.
type LiveBroker struct {
	BrokerRegistration
	// Epoch is the broker epoch: the transaction that created the node. The same id
	// with a higher epoch is a broker that was restarted in between.
	Epoch int64
}

// RegisterBroker registers a broker in session id and returns its broker epoch.
//
// The node is created without data and filled in the same multi, which makes its
// version 1, as Kafka does. If it is there already its owner decides: this session
// means that the reply to an earlier copy of the multi was lost, and the
// registration is done; the session in which this process registered before means
// that the server has not yet cleared up after it, and the node is replaced; any
// other owner is another process, and the error wraps ErrBrokerIDInUse.
func (c *Client) RegisterBroker(ctx context.Context, id session.ID, reg BrokerRegistration) (epoch int64, err error) {
	data, err := reg.Encode()
	if err != nil {
		return 0, err
	}
	c = c.In(id)
	path := BrokerIDPath(reg.ID)
	fail := func(err error) (int64, error) {
		return 0, fmt.Errorf("register broker %d: %w", reg.ID, err)
	}
	for {
		r, err := c.do1(ctx, session.Multi(
			session.Create(path, nil, session.Ephemeral),
			session.Set(path, data, 0),
		))
		if err == nil {
			c.state.registered.Store(int64(id))
			return r.Multi[1].Stat.Czxid, nil
		}
		if !errors.Is(err, session.ErrNodeExists) {
			return fail(err)
		}
		r, err = c.do1(ctx, session.Exists(path, nil))
		if errors.Is(err, session.ErrNoNode) {
			continue
		}
		if err != nil {
			return fail(err)
		}
		switch owner := r.Stat.EphemeralOwner; {
		case owner == int64(id):
			c.state.registered.Store(int64(id))
			return r.Stat.Czxid, nil
		case owner != 0 && owner == c.state.registered.Load():
			_, err := c.do1(ctx, session.Delete(path, r.Stat.Version))
			if err != nil && !errors.Is(err, session.ErrNoNode) && !errors.Is(err, session.ErrBadVersion) {
				return fail(err)
			}
		default:
			return fail(fmt.Errorf("owned by session %v: %w", session.ID(owner), ErrBrokerIDInUse))
		}
	}
}

// UpdateBroker replaces the registration's data; the broker epoch stays.
func (c *Client) UpdateBroker(ctx context.Context, id session.ID, reg BrokerRegistration) error {
	data, err := reg.Encode()
	if err != nil {
		return err
	}
	if _, err := c.In(id).do1(ctx, session.Set(BrokerIDPath(reg.ID), data, session.AnyVersion)); err != nil {
		return fmt.Errorf("update the registration of broker %d: %w", reg.ID, err)
	}
	return nil
}

// Brokers reads all registrations, in the order of their ids. list fires when a
// broker comes or goes, each when the data of one of them changes or it goes.
// Registrations that cannot be read are left out and returned as malformed.
func (c *Client) Brokers(ctx context.Context, list, each *session.Watch) (live []LiveBroker, malformed []error, err error) {
	names, err := c.children(ctx, BrokerIDsPath, list)
	if err != nil {
		return nil, nil, fmt.Errorf("list the brokers: %w", err)
	}
	var ids []int32
	for _, name := range names {
		id, err := strconv.ParseInt(name, 10, 32)
		if err != nil || id < 0 {
			malformed = append(malformed, fmt.Errorf("znode %s/%s: the name is no broker id", BrokerIDsPath, name))
			continue
		}
		ids = append(ids, int32(id))
	}
	slices.Sort(ids)
	paths := make([]string, len(ids))
	for i, id := range ids {
		paths[i] = BrokerIDPath(id)
	}
	for i, r := range c.gets(ctx, paths, each) {
		if errors.Is(r.Err, session.ErrNoNode) {
			continue
		}
		if r.Err != nil {
			return nil, nil, fmt.Errorf("read broker %d: %w", ids[i], r.Err)
		}
		reg, err := DecodeBrokerRegistration(ids[i], r.Data)
		if err != nil {
			malformed = append(malformed, err)
			continue
		}
		live = append(live, LiveBroker{reg, r.Stat.Czxid})
	}
	slices.SortFunc(live, func(a, b LiveBroker) int { return cmp.Compare(a.ID, b.ID) })
	return live, malformed, nil
}

// gets reads many nodes, pipelined. Results are in the order of paths.
func (c *Client) gets(ctx context.Context, paths []string, w *session.Watch) []session.Result {
	if len(paths) == 0 {
		return nil
	}
	ops := make([]session.Op, len(paths))
	for i, path := range paths {
		ops[i] = session.Get(path, w)
	}
	return c.zk.Do(ctx, c.in, ops...)
}
