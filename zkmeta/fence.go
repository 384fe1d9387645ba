package zkmeta

import (
	"context"
	"errors"
	"fmt"

	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// Claim is what an election was won with. It fences every write of that
// controller: a write carries a check of /controller_epoch, whose version moves at
// each election, so that what a deposed controller still has on its way has no
// effect.
type Claim struct {
	Session  session.ID
	BrokerID int32
	Epoch    int32
	// EpochZkVersion is the version of /controller_epoch after the election.
	EpochZkVersion int32
}

// fenced does each of ops in a multi of its own behind a check of the claim, all of
// them pipelined. A multi of two has a bounded size whatever is written, and one
// refused write does not undo its neighbours. The results are those of ops. The
// error is for all of them: ErrNotController, or the session's or ctx's end; then
// some of ops may have been done.
func (c *Client) fenced(ctx context.Context, claim Claim, ops []session.Op) ([]session.Result, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	multis := make([]session.Op, len(ops))
	for i, op := range ops {
		multis[i] = session.Multi(session.Check(ControllerEpochPath, claim.EpochZkVersion), op)
	}
	results := c.zk.Do(ctx, claim.Session, multis...)
	for i, r := range results {
		if len(r.Multi) != 2 {
			return nil, r.Err
		}
		if err := r.Multi[0].Err; errors.Is(err, session.ErrBadVersion) || errors.Is(err, session.ErrNoNode) {
			return nil, fmt.Errorf("epoch %d of controller %d: %w", claim.Epoch, claim.BrokerID, ErrNotController)
		} else if err != nil && !errors.Is(err, session.ErrRolledBack) {
			return nil, err
		}
		results[i] = r.Multi[1]
		results[i].Resent = r.Resent
	}
	return results, nil
}

// fenced1 does one fenced operation.
func (c *Client) fenced1(ctx context.Context, claim Claim, op session.Op) (session.Result, error) {
	results, err := c.fenced(ctx, claim, []session.Op{op})
	if err != nil {
		return session.Result{}, err
	}
	return results[0], results[0].Err
}

// fencedDelete removes nodes; those that are gone already are no error.
func (c *Client) fencedDelete(ctx context.Context, claim Claim, paths []string) error {
	ops := make([]session.Op, len(paths))
	for i, path := range paths {
		ops[i] = session.Delete(path, session.AnyVersion)
	}
	results, err := c.fenced(ctx, claim, ops)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil && !errors.Is(r.Err, session.ErrNoNode) {
			return r.Err
		}
	}
	return nil
}
