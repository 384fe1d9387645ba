package zkmeta

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// ErrNotController is returned by a fenced write when another broker has been
// elected since the claim that fences it. The loser resigns at once.
var ErrNotController = errors.New("zkmeta: no longer the controller")

// ErrNoController is returned by writes that need some controller in the cluster
// while there is none, or while a KRaft controller holds it.
var ErrNoController = errors.New("zkmeta: the cluster has no controller")

// Client reads and writes the cluster's state. All methods may be called
// concurrently. They wait while ZooKeeper cannot be reached, until ctx ends.
//
// A Client made by New works in whichever session is current when a method is
// called. In binds it to one session: then everything fails with
// session.ErrExpired once that session is gone, so that what was planned in it is
// never done in the next. A method that takes a Claim works in the claim's session.
//
// Watches are armed by reads, fire once, and die with their session.
type Client struct {
	zk    *session.Client
	in    session.ID
	state *clientState
}

// clientState is what all Clients of one session.Client share.
type clientState struct {
	// registered is the session in which this process registered its broker last: a
	// registration that a later session still finds there is ours to replace.
	registered atomic.Int64
}

// New makes a Client on zk, which need not be started yet.
func New(zk *session.Client) *Client { return &Client{zk: zk, state: new(clientState)} }

// In returns a Client that works in one session only.
func (c *Client) In(id session.ID) *Client { return &Client{zk: c.zk, in: id, state: c.state} }

// Session returns the client that this one works on.
func (c *Client) Session() *session.Client { return c.zk }

// do1 does one operation; the caller says in the error what it was for.
func (c *Client) do1(ctx context.Context, op session.Op) (session.Result, error) {
	return c.zk.Do1(ctx, c.in, op)
}

// ensurePath creates a persistent node without data, and its parents, if absent.
func (c *Client) ensurePath(ctx context.Context, path string) error {
	if err := c.createRecursive(ctx, path, nil); err != nil && !errors.Is(err, session.ErrNodeExists) {
		return err
	}
	return nil
}

// createRecursive creates a persistent node with data, and its missing parents
// without. The error wraps session.ErrNodeExists if it is there already.
func (c *Client) createRecursive(ctx context.Context, path string, data []byte) error {
	_, err := c.do1(ctx, session.Create(path, data, session.Persistent))
	if !errors.Is(err, session.ErrNoNode) {
		return err
	}
	if err := c.ensurePath(ctx, parent(path)); err != nil {
		return err
	}
	_, err = c.do1(ctx, session.Create(path, data, session.Persistent))
	return err
}

func parent(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return "/"
}

// children lists the children of path; a missing node has none, and then no watch is
// armed.
func (c *Client) children(ctx context.Context, path string, w *session.Watch) ([]string, error) {
	r, err := c.do1(ctx, session.Children(path, w))
	if errors.Is(err, session.ErrNoNode) {
		return nil, nil
	}
	return r.Children, err
}

// getOrWatch reads a node that may be absent. In either case w fires at the next
// change.
func (c *Client) getOrWatch(ctx context.Context, path string, w *session.Watch) (r session.Result, ok bool, err error) {
	for {
		r, err = c.do1(ctx, session.Get(path, w))
		if !errors.Is(err, session.ErrNoNode) {
			return r, err == nil, err
		}
		if w == nil {
			return session.Result{}, false, nil
		}
		_, err = c.do1(ctx, session.Exists(path, w))
		if errors.Is(err, session.ErrNoNode) {
			return session.Result{}, false, nil
		}
		if err != nil {
			return session.Result{}, false, err
		}
		// It was created between the two reads.
	}
}

// EnsurePaths creates the paths that every broker makes sure of at start-up. They
// travel together, parents first, so that a new tree costs one wait for the disk
// and not one for each of them.
func (c *Client) EnsurePaths(ctx context.Context) error {
	var ops []session.Op
	seen := map[string]bool{}
	var add func(path string)
	add = func(path string) {
		if path == "/" || seen[path] {
			return
		}
		seen[path] = true
		add(parent(path))
		ops = append(ops, session.Create(path, nil, session.Persistent))
	}
	for _, path := range persistentPaths {
		add(path)
	}
	for _, r := range c.zk.Do(ctx, c.in, ops...) {
		if r.Err != nil && !errors.Is(r.Err, session.ErrNodeExists) {
			return fmt.Errorf("create the persistent paths: %w", r.Err)
		}
	}
	return nil
}

// ClusterID reads the cluster's id. If there is none and create is set it makes one
// up; of several brokers that do so at once all get the same. Without create a
// missing id is "".
func (c *Client) ClusterID(ctx context.Context, create bool) (string, error) {
	read := func() (string, error) {
		r, err := c.do1(ctx, session.Get(ClusterIDPath, nil))
		if err != nil {
			return "", err
		}
		return DecodeClusterID(r.Data)
	}
	id, err := read()
	if err == nil || !errors.Is(err, session.ErrNoNode) {
		return id, err
	}
	if !create {
		return "", nil
	}
	data, err := EncodeClusterID(NewClusterID())
	if err != nil {
		return "", err
	}
	if err := c.createRecursive(ctx, ClusterIDPath, data); err != nil && !errors.Is(err, session.ErrNodeExists) {
		return "", fmt.Errorf("create the cluster id: %w", err)
	}
	// Read what stands there, ours or another's: that also settles a lost reply.
	return read()
}

// BrokerSequenceID draws a number, from 1 up, that no other call has got. Kafka adds
// reserved.broker.max.id to it to make a broker id.
func (c *Client) BrokerSequenceID(ctx context.Context) (int32, error) {
	for {
		r, err := c.do1(ctx, session.Set(BrokerSequencePath, []byte{}, session.AnyVersion))
		if errors.Is(err, session.ErrNoNode) {
			if err = c.ensurePath(ctx, BrokerSequencePath); err == nil {
				continue
			}
		}
		if err != nil {
			return 0, fmt.Errorf("draw a broker id: %w", err)
		}
		return r.Stat.Version, nil
	}
}

// NextProducerIDBlock gives the next block of producer ids to a broker. If the reply
// to the write is lost the block may be skipped: no id is ever given out twice.
func (c *Client) NextProducerIDBlock(ctx context.Context, brokerID int32) (ProducerIDBlock, error) {
	fail := func(err error) (ProducerIDBlock, error) {
		return ProducerIDBlock{}, fmt.Errorf("allocate producer ids for broker %d: %w", brokerID, err)
	}
	for {
		r, err := c.do1(ctx, session.Get(ProducerIDBlockPath, nil))
		if errors.Is(err, session.ErrNoNode) {
			if err = c.ensurePath(ctx, ProducerIDBlockPath); err == nil {
				continue
			}
		}
		if err != nil {
			return fail(err)
		}
		var last *ProducerIDBlock
		if r.Data != nil {
			block, err := DecodeProducerIDBlock(r.Data)
			if err != nil {
				return fail(err)
			}
			last = &block
		}
		block, err := last.next(brokerID)
		if err != nil {
			return fail(err)
		}
		data, err := block.Encode()
		if err != nil {
			return fail(err)
		}
		_, err = c.do1(ctx, session.Set(ProducerIDBlockPath, data, r.Stat.Version))
		switch {
		case err == nil:
			return block, nil
		case errors.Is(err, session.ErrBadVersion):
			// Another broker was faster, or our own write was answered into a lost
			// connection. Take the next one.
		default:
			return fail(err)
		}
	}
}

// nowMS is the time that goes into the timestamps of nodes.
func nowMS() int64 { return time.Now().UnixMilli() }
