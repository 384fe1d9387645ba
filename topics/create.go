package topics

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// parallel bounds how many topics of one request are written at a time.
const parallel = 32

// Create makes topics and waits, at most timeout, until this broker's view has
// all their partitions with leaders. Results are in the order of the requests.
// A topic that was written but did not show up in time has kerr.RequestTimedOut,
// as has every topic when timeout <= 0.
func (m *Manager) Create(ctx context.Context, requests []CreateRequest, timeout time.Duration, validateOnly bool) []CreateResult {
	deadline := time.Now().Add(timeout)
	results := make([]CreateResult, len(requests))
	defaults := m.settings.Broker().Topics.NumPartitions
	excessive := tooMany(len(requests), func(i int) int32 {
		switch r := &requests[i]; {
		case len(r.Assignment) > 0:
			return int32(len(r.Assignment))
		case r.Partitions == -1:
			return defaults
		default:
			return r.Partitions
		}
	})
	each(len(requests), func(i int) {
		if excessive(i) {
			results[i] = CreateResult{Name: requests[i].Name, Err: errTooMany}
			return
		}
		results[i] = m.createOne(ctx, requests[i], validateOnly)
	})
	if validateOnly {
		return results
	}
	wanted := map[string]int32{}
	for _, r := range results {
		if r.Err == nil {
			wanted[r.Name] = r.Partitions
		}
	}
	missing := m.await(ctx, deadline, wanted, hasLeaders)
	for i := range results {
		if r := &results[i]; r.Err == nil && (timeout <= 0 || missing[r.Name]) {
			r.Err = kerr.RequestTimedOut
		}
	}
	return results
}

// maxPartitions bounds the partitions of all topics in one request. Kafka's KRaft
// controller has the same bound, and the error beyond it; in ZooKeeper mode Kafka
// takes any number, and a request of forty bytes can fill its memory.
const maxPartitions = 10_000

var errTooMany = refuse(kerr.PolicyViolation, "Excessively large number of partitions per request.")

// tooMany tells which of n topics are beyond maxPartitions, counted in their order;
// one counts for a partition at least.
func tooMany(n int, partitions func(int) int32) func(i int) bool {
	sum := int64(0)
	for i := range n {
		if sum += int64(max(partitions(i), 1)); sum > maxPartitions {
			return func(j int) bool { return j >= i }
		}
	}
	return func(int) bool { return false }
}

// each calls do for 0 to n-1, several at a time.
func each(n int, do func(int)) {
	turns := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			do(i)
		})
	}
	wg.Wait()
}

// createOne validates and writes one topic.
func (m *Manager) createOne(ctx context.Context, req CreateRequest, validateOnly bool) CreateResult {
	result := CreateResult{Name: req.Name}
	assignment, configs, err := m.plan(ctx, req)
	if err != nil {
		result.Err = err
		return result
	}
	result.Partitions, result.ReplicationFactor = int32(len(assignment)), int16(len(assignment[0]))
	result.Configs = configs
	if validateOnly {
		return result
	}
	topic := zkmeta.NewTopicAssignment(protocol.NewTopicID(), assignment)
	err = m.zk.CreateTopic(ctx, req.Name, topic, configs)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		result.Err = alreadyExists(req.Name)
	case err != nil:
		result.Err = noController(err)
	default:
		result.ID = topic.ID
		m.cfg.Logger.Debug("created a topic", "topic", req.Name, "id", topic.ID, "partitions", len(assignment), "configs", configs)
	}
	return result
}

// plan makes all checks of a new topic, in Kafka's order, and places its replicas.
func (m *Manager) plan(ctx context.Context, req CreateRequest) (assignment [][]int32, configs map[string]string, err error) {
	view := m.view.Snapshot()
	if _, exists := view.Topic(req.Name); exists {
		return nil, nil, alreadyExists(req.Name)
	}
	configs, err = configValues(req.Configs)
	if err != nil {
		return nil, nil, err
	}
	if len(req.Assignment) > 0 {
		if req.Partitions != -1 || req.ReplicationFactor != -1 {
			return nil, nil, refuse(kerr.InvalidRequest, "Both numPartitions or replicationFactor and replicasAssignments were set. "+
				"Both cannot be used at the same time.")
		}
	} else {
		defaults := m.settings.Broker().Topics
		if req.Partitions == -1 {
			req.Partitions = defaults.NumPartitions
		}
		if req.ReplicationFactor == -1 {
			req.ReplicationFactor = defaults.DefaultReplicationFactor
		}
		brokers := locations(view)
		assignment, err = place(brokers, req.Partitions, int(req.ReplicationFactor), randomStart(len(brokers), m.cfg.Random))
		if err != nil {
			return nil, nil, err
		}
	}
	if err := m.checkName(ctx, req.Name); err != nil {
		return nil, nil, err
	}
	if len(req.Assignment) > 0 {
		if assignment, err = checkAssignment(req.Assignment); err != nil {
			return nil, nil, err
		}
	}
	if err := m.settings.ValidateTopicAll(configs); err != nil {
		return nil, nil, err
	}
	return assignment, configs, nil
}

func alreadyExists(name string) error {
	return refuse(kerr.TopicAlreadyExists, "Topic '%s' already exists.", name)
}

// AutoCreate makes one topic as a Metadata request for an unknown one does: with
// the broker's defaults (for an internal topic, its own), without waiting until it
// can be used. Errors wrap kerr.TopicAlreadyExists, kerr.InvalidTopicException,
// kerr.InvalidReplicationFactor and others of Create, or
// kerr.UnknownTopicOrPartition while another call creates the same topic: then one
// asks again.
func (m *Manager) AutoCreate(ctx context.Context, name string) error {
	if err := ValidateName(name); err != nil {
		return err
	}
	if !m.claim(name) {
		return refuse(kerr.UnknownTopicOrPartition, "Topic '%s' is being created.", name)
	}
	defer m.release(name)
	return m.createOne(ctx, m.automatic(name), false).Err
}

func (m *Manager) claim(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.creating[name] {
		return false
	}
	m.creating[name] = true
	return true
}

func (m *Manager) release(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.creating, name)
}
