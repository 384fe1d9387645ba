package api

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/controller"
	"github.com/gracchus-mq/gracchus/protocol"
)

// electLeaders is answered by the controller only, once this broker knows of the new
// leaders.
type electLeaders struct {
	controller Controller
	view       *cluster.View
	codes      codes
}

// The kinds of election that there are (KIP-460). Before version 1 there was the first.
const (
	preferredElection = 0
	uncleanElection   = 1
)

func (h *electLeaders) handle(ctx context.Context, r *server.Request, req *kmsg.ElectLeadersRequest) (*kmsg.ElectLeadersResponse, error) {
	resp := kmsg.NewPtrElectLeadersResponse()
	if r.Header.Version > 0 && req.ElectionType != preferredElection && req.ElectionType != uncleanElection {
		refuseElections(resp, req)
		return resp, nil
	}
	unclean := r.Header.Version > 0 && req.ElectionType == uncleanElection
	tps := namedOnce(req.Topics)
	if req.Topics == nil {
		tps = allPartitions(h.view.Snapshot())
	}
	results, err := h.controller.ElectLeaders(ctx, unclean, tps)
	if err != nil {
		results = make([]controller.ElectionResult, len(tps))
		for i := range results {
			results[i].Err = err
		}
	}
	h.await(ctx, time.Duration(req.TimeoutMillis)*time.Millisecond, tps, results)
	places := map[string]int{}
	for i, tp := range tps {
		if req.Topics == nil && errors.Is(results[i].Err, kerr.ElectionNotNeeded) {
			continue // who did not name any is told of those only that had an election
		}
		p := kmsg.NewElectLeadersResponseTopicPartition()
		p.Partition = tp.Partition
		p.ErrorCode, p.ErrorMessage = h.codes.withMessage(results[i].Err)
		addElected(resp, places, tp.Topic, p)
	}
	return resp, nil
}

// addElected adds a partition to its topic; places says where topics are.
func addElected(resp *kmsg.ElectLeadersResponse, places map[string]int, topic string, p kmsg.ElectLeadersResponseTopicPartition) {
	at, there := places[topic]
	if !there {
		at = len(resp.Topics)
		places[topic] = at
		t := kmsg.NewElectLeadersResponseTopic()
		t.Topic = topic
		resp.Topics = append(resp.Topics, t)
	}
	resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, p)
}

// refuseElections answers a kind of election that there is not, as Kafka does.
func refuseElections(resp *kmsg.ElectLeadersResponse, req *kmsg.ElectLeadersRequest) {
	resp.ErrorCode = kerr.UnknownServerError.Code
	for _, t := range req.Topics {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = t.Topic
		for _, number := range t.Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition, p.ErrorCode = number, resp.ErrorCode
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
}

// namedOnce lists the partitions of a request, those that are named again left out.
func namedOnce(topics []kmsg.ElectLeadersRequestTopic) []protocol.TopicPartition {
	n := 0
	for _, t := range topics {
		n += len(t.Partitions)
	}
	tps := make([]protocol.TopicPartition, 0, n)
	named := make(map[protocol.TopicPartition]bool, n)
	for _, t := range topics {
		for _, number := range t.Partitions {
			tp := protocol.TopicPartition{Topic: t.Topic, Partition: number}
			if !named[tp] {
				named[tp] = true
				tps = append(tps, tp)
			}
		}
	}
	return tps
}

func allPartitions(s *cluster.Snapshot) []protocol.TopicPartition {
	tps := make([]protocol.TopicPartition, 0, s.PartitionCount())
	for t := range s.Topics() {
		for _, p := range t.Partitions {
			tps = append(tps, protocol.TopicPartition{Topic: t.Name, Partition: p.ID})
		}
	}
	return tps
}

// await returns when this broker knows of all new leaders. Those of which it has not
// heard in time become errors.
func (h *electLeaders) await(ctx context.Context, timeout time.Duration, tps []protocol.TopicPartition, results []controller.ElectionResult) {
	waiting := map[protocol.TopicPartition]*controller.ElectionResult{}
	for i := range results {
		if results[i].Err == nil {
			waiting[tps[i]] = &results[i]
		}
	}
	if len(waiting) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := h.view.Wait(bounded, func(s *cluster.Snapshot) bool {
		for tp, result := range waiting {
			if p, known := s.Partition(tp); known && p.Leader == result.Leader {
				delete(waiting, tp)
			}
		}
		return len(waiting) == 0
	})
	for _, result := range waiting {
		result.Err = err
	}
}
