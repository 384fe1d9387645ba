package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/topics"
)

// clusterMetadataTopic is where KRaft keeps its log; the name is reserved.
const clusterMetadataTopic = "__cluster_metadata"

// About how many bytes a topic takes in a response, with its configuration, and with
// an error.
const (
	describedTopic = 1700
	refusedTopic   = 120
)

// createTopics is answered by the controller only, as Kafka's clients expect.
type createTopics struct {
	controller Controller
	topics     Topics
	settings   *config.Settings
	codes      codes
}

func (h *createTopics) handle(ctx context.Context, r *server.Request, req *kmsg.CreateTopicsRequest) (*kmsg.CreateTopicsResponse, error) {
	resp := kmsg.NewPtrCreateTopicsResponse()
	resp.Topics = make([]kmsg.CreateTopicsResponseTopic, len(req.Topics))
	_, active := h.controller.Active()
	times := make(map[string]int, len(req.Topics))
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	var wanted []topics.CreateRequest
	var places []int // of wanted, in the response
	for i := range req.Topics {
		t, out := &req.Topics[i], &resp.Topics[i]
		*out = kmsg.NewCreateTopicsResponseTopic()
		out.Topic = t.Topic
		switch {
		case !active:
			out.ErrorCode = kerr.NotController.Code
		case t.Topic == clusterMetadataTopic:
			out.ErrorCode = kerr.InvalidRequest.Code
			out.ErrorMessage = stringPtr("Creation of internal topic __cluster_metadata is prohibited.")
			out.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		case times[t.Topic] > 1:
			out.ErrorCode = kerr.InvalidRequest.Code
			out.ErrorMessage = stringPtr("Found multiple entries for this topic.")
			out.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		default:
			wanted = append(wanted, createRequest(t))
			places = append(places, i)
		}
	}
	if len(wanted) == 0 {
		return resp, nil
	}
	validateOnly := req.ValidateOnly && r.Header.Version >= 1
	results := h.topics.Create(ctx, wanted, time.Duration(req.TimeoutMillis)*time.Millisecond, validateOnly)
	made := 0
	for i := range results {
		if results[i].Err == nil {
			made++
		}
	}
	r.Expect(made*describedTopic + (len(req.Topics)-made)*refusedTopic)
	var plain []kmsg.CreateTopicsResponseTopicConfig // of topics without configurations of their own
	for i := range results {
		if len(results[i].Configs) > 0 {
			h.fill(&resp.Topics[places[i]], &results[i], h.configs(results[i].Configs))
			continue
		}
		if plain == nil && results[i].Err == nil {
			plain = h.configs(nil)
		}
		h.fill(&resp.Topics[places[i]], &results[i], plain)
	}
	return resp, nil
}

func createRequest(t *kmsg.CreateTopicsRequestTopic) topics.CreateRequest {
	c := topics.CreateRequest{Name: t.Topic, Partitions: t.NumPartitions, ReplicationFactor: t.ReplicationFactor}
	if len(t.ReplicaAssignment) > 0 {
		c.Assignment = make(map[int32][]int32, len(t.ReplicaAssignment))
		for _, a := range t.ReplicaAssignment {
			c.Assignment[a.Partition] = a.Replicas
		}
	}
	for _, o := range t.Configs {
		c.Configs = append(c.Configs, topics.ConfigOp{Name: o.Name, Value: o.Value})
	}
	return c
}

func (h *createTopics) fill(out *kmsg.CreateTopicsResponseTopic, res *topics.CreateResult, configs []kmsg.CreateTopicsResponseTopicConfig) {
	out.TopicID = res.ID // a topic that only did not show up in time has one, too
	if res.Err != nil {
		out.ErrorCode, out.ErrorMessage = h.codes.withMessage(res.Err)
		out.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		return
	}
	out.NumPartitions = res.Partitions
	out.ReplicationFactor = res.ReplicationFactor
	out.Configs = configs
}

// configs describes a topic's configuration, given its own values.
func (h *createTopics) configs(own map[string]string) (out []kmsg.CreateTopicsResponseTopicConfig) {
	for _, e := range h.settings.DescribeTopic(own) {
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.ReadOnly, c.Source, c.IsSensitive = e.Name, e.ReadOnly, int8(e.Source), e.Sensitive
		if !e.Null {
			c.Value = stringPtr(e.Value)
		}
		out = append(out, c)
	}
	return out
}
