package controller

import (
	"fmt"

	"github.com/gracchus-mq/gracchus/zkmeta"
)

// AllowUncleanElection says that unclean election has been allowed, in a topic or by
// default: partitions that waited for their in-sync replicas need not wait any more. It
// returns at once, and does nothing unless this broker is controller.
func (c *Controller) AllowUncleanElection() {
	if c.office() != nil { // who becomes controller elects by the configuration that it finds
		c.inbox.put(func(e *events) { e.unclean = true })
	}
}

// uncleanCandidates asks about those topics only whose partitions have no other
// choice.
func (t *term) uncleanCandidates(why election, partitions []*partition) (map[string]bool, error) {
	if why != electOffline {
		return nil, nil
	}
	topics := map[string]bool{}
	for _, p := range partitions {
		if live := t.st.liveReplica(p); len(filter(p.state.ISR, live)) == 0 && len(filter(p.assignment.Replicas, live)) > 0 {
			topics[p.Topic] = true
		}
	}
	return t.uncleanAllowed(topics)
}

// uncleanAllowed reads for which topics a replica outside the ISR may lead.
func (t *term) uncleanAllowed(topics map[string]bool) (map[string]bool, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	var entities []zkmeta.ConfigEntity
	for name := range topics {
		entities = append(entities, zkmeta.TopicConfig(name))
	}
	configs, err := t.zk.Configs(t.ctx, entities)
	if err != nil {
		return nil, fmt.Errorf("reading whether unclean election is allowed: %w", err)
	}
	allowed := map[string]bool{}
	for _, c := range configs {
		if c.Err != nil {
			t.logger.Error("a topic's configuration cannot be read; no unclean election", "topic", c.Entity.Name(), "error", c.Err)
			continue
		}
		allowed[c.Entity.Name()] = t.cfg.Settings.Topic(c.Values).UncleanLeaderElection
	}
	return allowed, nil
}
