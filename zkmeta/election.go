package zkmeta

import (
	"context"
	"errors"
	"fmt"

	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// Controller reads who the controller is; ok is false while there is none. w fires
// when that changes.
func (c *Client) Controller(ctx context.Context, w *session.Watch) (reg ControllerRegistration, ok bool, err error) {
	r, ok, err := c.getOrWatch(ctx, ControllerPath, w)
	if !ok || err != nil {
		return ControllerRegistration{}, false, err
	}
	reg, err = DecodeController(r.Data)
	return reg, err == nil, err
}

// ControllerEpoch reads the number of elections so far and the version of its node;
// ok is false before the first.
func (c *Client) ControllerEpoch(ctx context.Context) (epoch, zkVersion int32, ok bool, err error) {
	r, ok, err := c.getOrWatch(ctx, ControllerEpochPath, nil)
	if !ok || err != nil {
		return 0, 0, false, err
	}
	epoch, err = DecodeControllerEpoch(r.Data)
	return epoch, r.Stat.Version, err == nil, err
}

// ClaimController stands for election in session id. It does not wait for a
// controller that there is: won is false then. The caller watches with Controller
// before it stands.
//
// One multi creates /controller and counts up the epoch, so that there is one epoch
// per election won. A place that this session holds already, from a claim whose
// outcome nobody waited for, is given up first: it cannot be told which epoch it
// was won with. When the answer is ambiguous (the connection was lost and the
// second copy of the multi found our own node) both nodes are read again: we have
// won if /controller is ours in this session and the epoch is the one that we wrote.
func (c *Client) ClaimController(ctx context.Context, id session.ID, brokerID int32) (claim Claim, won bool, err error) {
	c = c.In(id)
	for {
		r, taken, err := c.getOrWatch(ctx, ControllerPath, nil)
		if taken && session.ID(r.Stat.EphemeralOwner) == id {
			_, err = c.do1(ctx, session.Delete(ControllerPath, session.AnyVersion))
			if taken = false; errors.Is(err, session.ErrNoNode) {
				err = nil
			}
		}
		if err != nil || taken {
			return Claim{}, false, err
		}
		epoch, zkVersion, err := c.controllerEpochOrZero(ctx)
		if err != nil {
			return Claim{}, false, fmt.Errorf("claim the controller's place: %w", err)
		}
		claim = Claim{Session: id, BrokerID: brokerID, Epoch: epoch + 1}
		claim.EpochZkVersion, err = c.tryClaim(ctx, claim, zkVersion)
		switch {
		case err == nil:
			return claim, true, nil
		case errors.Is(err, session.ErrNodeExists), errors.Is(err, session.ErrBadVersion):
		default:
			return Claim{}, false, fmt.Errorf("claim the controller's place: %w", err)
		}
		claim.EpochZkVersion, won, taken, err = c.claimedAfterAll(ctx, claim)
		if err != nil || won || taken {
			return claim, won, err
		}
		// Another won and is gone again. The place is free.
	}
}

// tryClaim is the multi of an election. It returns the new version of the epoch.
func (c *Client) tryClaim(ctx context.Context, claim Claim, zkVersion int32) (int32, error) {
	data, err := ControllerRegistration{BrokerID: claim.BrokerID, TimestampMS: nowMS(), KRaftEpoch: -1}.Encode()
	if err != nil {
		return 0, err
	}
	r, err := c.do1(ctx, session.Multi(
		session.Create(ControllerPath, data, session.Ephemeral),
		session.Set(ControllerEpochPath, EncodeControllerEpoch(claim.Epoch), zkVersion),
	))
	if err != nil {
		return 0, err
	}
	return r.Multi[1].Stat.Version, nil
}

// claimedAfterAll reads both nodes of an election whose outcome is unclear.
func (c *Client) claimedAfterAll(ctx context.Context, claim Claim) (zkVersion int32, won, taken bool, err error) {
	r, taken, err := c.getOrWatch(ctx, ControllerPath, nil)
	if err != nil || !taken {
		return 0, false, false, err
	}
	if session.ID(r.Stat.EphemeralOwner) != claim.Session {
		return 0, false, true, nil
	}
	if reg, err := DecodeController(r.Data); err != nil || reg.BrokerID != claim.BrokerID {
		return 0, false, true, err
	}
	epoch, zkVersion, _, err := c.ControllerEpoch(ctx)
	return zkVersion, err == nil && epoch == claim.Epoch, true, err
}

// controllerEpochOrZero reads the epoch, creating it as 0.
func (c *Client) controllerEpochOrZero(ctx context.Context) (epoch, zkVersion int32, err error) {
	for {
		epoch, zkVersion, ok, err := c.ControllerEpoch(ctx)
		if err != nil || ok {
			return epoch, zkVersion, err
		}
		_, err = c.do1(ctx, session.Create(ControllerEpochPath, EncodeControllerEpoch(0), session.Persistent))
		if err != nil && !errors.Is(err, session.ErrNodeExists) {
			return 0, 0, err
		}
	}
}

// ResignController gives up the place so that others may stand at once. It returns
// ErrNotController if it was lost before.
func (c *Client) ResignController(ctx context.Context, claim Claim) error {
	if err := c.fencedDelete(ctx, claim, []string{ControllerPath}); err != nil {
		return fmt.Errorf("resign as controller: %w", err)
	}
	return nil
}

// Feature reads the finalized features; ok is false if the node is absent. The
// epoch of the features is zkVersion. w fires when they change.
func (c *Client) Feature(ctx context.Context, w *session.Watch) (f Feature, zkVersion int32, ok bool, err error) {
	r, ok, err := c.getOrWatch(ctx, FeaturePath, w)
	if !ok || err != nil {
		return Feature{}, 0, false, err
	}
	f, err = DecodeFeature(r.Data)
	return f, r.Stat.Version, err == nil, err
}

// SetFeature writes the features, creating the node if it is absent. As in Kafka
// this is not fenced: only a controller does it, and all write the same.
func (c *Client) SetFeature(ctx context.Context, f Feature) (zkVersion int32, err error) {
	data, err := f.Encode()
	if err != nil {
		return 0, err
	}
	for {
		r, err := c.do1(ctx, session.Set(FeaturePath, data, session.AnyVersion))
		if err == nil {
			return r.Stat.Version, nil
		}
		if !errors.Is(err, session.ErrNoNode) {
			return 0, fmt.Errorf("write the features: %w", err)
		}
		_, err = c.do1(ctx, session.Create(FeaturePath, data, session.Persistent))
		if err == nil {
			return 0, nil
		}
		if !errors.Is(err, session.ErrNodeExists) {
			return 0, fmt.Errorf("write the features: %w", err)
		}
	}
}
