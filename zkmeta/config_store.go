package zkmeta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// Config reads the configuration of one entity; without a node it is empty.
func (c *Client) Config(ctx context.Context, entity ConfigEntity) (map[string]string, error) {
	configs, err := c.Configs(ctx, []ConfigEntity{entity})
	if err != nil {
		return nil, err
	}
	return configs[0].Values, configs[0].Err
}

// ConfigEntry is the configuration of one entity.
type ConfigEntry struct {
	Entity ConfigEntity
	Values map[string]string // empty, not nil, if the entity has none
	// Err is a *MalformedError if the node cannot be read; Values is nil then.
	Err error
}

// Configs reads the configurations of many entities, pipelined, in their order.
func (c *Client) Configs(ctx context.Context, entities []ConfigEntity) ([]ConfigEntry, error) {
	paths := make([]string, len(entities))
	for i, e := range entities {
		paths[i] = e.Path()
	}
	entries := make([]ConfigEntry, len(entities))
	for i, r := range c.gets(ctx, paths, nil) {
		entries[i].Entity = entities[i]
		switch {
		case errors.Is(r.Err, session.ErrNoNode):
			entries[i].Values = map[string]string{}
		case r.Err != nil:
			return nil, fmt.Errorf("read the configuration of %v: %w", entities[i], r.Err)
		default:
			entries[i].Values, entries[i].Err = DecodeConfig(entities[i], r.Data)
		}
	}
	return entries, nil
}

// ConfigEntities lists the entities of a kind that have a node, sorted. Users are
// listed without their clients.
func (c *Client) ConfigEntities(ctx context.Context, kind EntityType) ([]ConfigEntity, error) {
	names, err := c.children(ctx, EntityTypePath(kind), nil)
	if err != nil {
		return nil, fmt.Errorf("list the configured %s: %w", kind, err)
	}
	slices.Sort(names)
	entities := make([]ConfigEntity, len(names))
	for i, name := range names {
		entities[i] = ConfigEntity{kind, name}
	}
	return entities, nil
}

// SetConfig replaces the configuration of an entity, last writer wins. It returns
// ErrNoController while no broker is the controller, as Kafka refuses the change:
// a KRaft quorum may be about to take over, and would not see it. It does not
// notify; see NotifyConfigChange.
func (c *Client) SetConfig(ctx context.Context, entity ConfigEntity, values map[string]string) error {
	data, err := EncodeConfig(values)
	if err != nil {
		return fmt.Errorf("write the configuration of %v: %w", entity, err)
	}
	for {
		err := c.writeConfig(ctx, entity, data, session.AnyVersion)
		if errors.Is(err, session.ErrNoNode) {
			err = c.createRecursive(ctx, entity.Path(), data)
			if errors.Is(err, session.ErrNodeExists) {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("write the configuration of %v: %w", entity, err)
		}
		return nil
	}
}

// UpdateConfig changes the configuration of an entity: edit gets what stands there
// and changes it in place. It is written, as by Kafka, even if edit changes
// nothing: the node's version goes up. The whole is repeated when somebody else
// wrote in between, so that edit may be called more than once. An error of edit
// ends it. See SetConfig for ErrNoController.
func (c *Client) UpdateConfig(ctx context.Context, entity ConfigEntity, edit func(map[string]string) error) error {
	for again := false; ; again = true {
		r, exists, err := c.getOrWatch(ctx, entity.Path(), nil)
		if err != nil {
			return fmt.Errorf("read the configuration of %v: %w", entity, err)
		}
		values, err := DecodeConfig(entity, r.Data)
		if err != nil {
			return err
		}
		before := maps.Clone(values)
		if err := edit(values); err != nil {
			return err
		}
		if again && exists && maps.Equal(before, values) {
			return nil // what failed had been written
		}
		data, err := EncodeConfig(values)
		if err != nil {
			return fmt.Errorf("write the configuration of %v: %w", entity, err)
		}
		if exists {
			err = c.writeConfig(ctx, entity, data, r.Stat.Version)
		} else if _, err = c.electedController(ctx); err == nil {
			err = c.createRecursive(ctx, entity.Path(), data)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, session.ErrBadVersion), errors.Is(err, session.ErrNoNode), errors.Is(err, session.ErrNodeExists):
			// Somebody else wrote, or our own write was answered into a lost connection:
			// reading again shows which, as edit then finds its change done.
		default:
			return fmt.Errorf("write the configuration of %v: %w", entity, err)
		}
	}
}

// writeConfig overwrites the data of an existing node on condition that the
// controller is the same at the write as just before it.
func (c *Client) writeConfig(ctx context.Context, entity ConfigEntity, data []byte, version int32) error {
	for {
		controllerVersion, err := c.electedController(ctx)
		if err != nil {
			return err
		}
		r, err := c.do1(ctx, session.Multi(
			session.Check(ControllerPath, controllerVersion),
			session.Set(entity.Path(), data, version),
		))
		if err == nil || len(r.Multi) != 2 {
			return err
		}
		if check := r.Multi[0].Err; errors.Is(check, session.ErrNoNode) || errors.Is(check, session.ErrBadVersion) {
			continue // an election in between
		}
		return r.Multi[1].Err
	}
}

// electedController returns the version of /controller, or ErrNoController.
func (c *Client) electedController(ctx context.Context) (zkVersion int32, err error) {
	r, ok, err := c.getOrWatch(ctx, ControllerPath, nil)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, ErrNoController
	}
	reg, err := DecodeController(r.Data)
	if err != nil {
		return 0, err
	}
	if reg.ByKRaft() {
		return 0, fmt.Errorf("a KRaft controller has taken over: %w", ErrNoController)
	}
	return r.Stat.Version, nil
}
