package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Requests with more elements than are taken end their connection, whichever
// array they are in; one with as many is answered.
func TestTooManyElements(t *testing.T) {
	w := newWorld(t)
	metadata := func(n int) kmsg.Request {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = make([]kmsg.MetadataRequestTopic, n)
		for i := range req.Topics {
			req.Topics[i].Topic = kmsg.StringPtr("t")
		}
		return req
	}
	produce := func(n int) kmsg.Request {
		req := produceOne("t", 0, 1, nil)
		req.Topics[0].Partitions = make([]kmsg.ProduceRequestTopicPartition, n-1)
		return req
	}
	fetch := func(n int) kmsg.Request {
		req := kmsg.NewPtrFetchRequest()
		req.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: make([]kmsg.FetchRequestTopicPartition, 998)}}
		req.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "t", Partitions: make([]int32, n-1000)}}
		return req
	}
	for name, c := range map[string]struct {
		req     func(n int) kmsg.Request
		version int16
	}{"Metadata": {metadata, 12}, "Produce": {produce, 9}, "Fetch": {fetch, 12}} {
		t.Run(name, func(t *testing.T) {
			c1 := w.dial(w.clients)
			defer c1.Close()
			most := c.req(maxElements)
			go w.send(c1, most, c.version)
			w.receive(c1, most)
			c2 := w.dial(w.clients)
			defer c2.Close()
			go w.send(c2, c.req(maxElements+1), c.version)
			w.expectClosed(c2)
		})
	}
	w.logs.await(t, "too many elements", 3)
}

// What brokers ask their controller is bounded, too, although their frames may be
// larger: leaders can name every replica there is, beside maxElements.
func TestTooManyElementsOfBrokers(t *testing.T) {
	w := newWorld(t)
	w.assign("a", 2, 2, 0, []int32{2, 3})
	const known = 1 + 2 + 4 // topics, partitions, replicas
	tags := func(n int) (tags kmsg.Tags) {
		for i := range n {
			tags.Set(uint32(i+100), nil)
		}
		return tags
	}
	alter := func(n int) kmsg.Request {
		return &kmsg.AlterPartitionRequest{Topics: make([]kmsg.AlterPartitionRequestTopic, n)}
	}
	shutdown := func(n int) kmsg.Request { return &kmsg.ControlledShutdownRequest{UnknownTags: tags(n)} }
	allocate := func(n int) kmsg.Request { return &kmsg.AllocateProducerIDsRequest{UnknownTags: tags(n)} }
	for name, c := range map[string]struct {
		req            func(n int) kmsg.Request
		taken, refused int
		version        int16
	}{
		"AlterPartition":      {alter, maxElements + known, maxElements + known + 1, 1},
		"ControlledShutdown":  {shutdown, 1000, maxElements, 3},
		"AllocateProducerIds": {allocate, 1000, maxElements, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c1 := w.dial(w.brokers)
			defer c1.Close()
			most := c.req(c.taken)
			go w.send(c1, most, c.version)
			w.receive(c1, most)
			c2 := w.dial(w.brokers)
			defer c2.Close()
			go w.send(c2, c.req(c.refused), c.version)
			w.expectClosed(c2)
		})
	}
	w.logs.await(t, "too many elements", 3)
}

// What controllers tell grows with the cluster, and is taken as long as its elements
// say something.
func TestTooManyElementsOfControllers(t *testing.T) {
	w := newWorld(t)
	const topics = maxElements // and as many partitions
	// The smallest that says something: a topic of one letter and one partition.
	stop := kmsg.NewPtrStopReplicaRequest()
	stop.ControllerID, stop.ControllerEpoch, stop.BrokerEpoch = self, 3, 30
	for range topics {
		stop.Topics = append(stop.Topics, kmsg.StopReplicaRequestTopic{
			Topic: "a", PartitionStates: []kmsg.StopReplicaRequestTopicPartitionState{{Partition: 1}}})
	}
	if resp := call[*kmsg.StopReplicaResponse](w, 3, stop); resp.ErrorCode != 0 || len(resp.Partitions) != topics {
		t.Errorf("error code %d, %d partitions", resp.ErrorCode, len(resp.Partitions))
	}
	update := &kmsg.UpdateMetadataRequest{TopicStates: make([]kmsg.UpdateMetadataRequestTopicState, topics)}
	for i := range update.TopicStates {
		update.TopicStates[i].UnknownTags.Set(100, nil)
	}
	roles := &kmsg.LeaderAndISRRequest{TopicStates: make([]kmsg.LeaderAndISRRequestTopicState, 5*topics)}
	for version, req := range map[int16]kmsg.Request{6: update, 4: roles} {
		c := w.dial(w.brokers)
		defer c.Close()
		go w.send(c, req, version)
		w.expectClosed(c)
	}
	w.logs.await(t, "too many elements", 2)
}

// A request that names topics nobody has made makes so many of them and no more.
func TestAutoCreationIsBounded(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	for i := range maxAutoCreated + 500 {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr(fmt.Sprint("t", i))})
	}
	resp := call[*kmsg.MetadataResponse](w, 12, req)
	for _, topic := range resp.Topics {
		if topic.ErrorCode != kerr.LeaderNotAvailable.Code {
			t.Fatalf("%s: %d", *topic.Topic, topic.ErrorCode)
		}
	}
	if n := len(w.topics.auto); n != maxAutoCreated || len(resp.Topics) != maxAutoCreated+500 {
		t.Errorf("%d topics were made, %d answered for", n, len(resp.Topics))
	}
}

// A resource that is named again and again is described only so often, however its
// name is spelled.
func TestDescribedAgain(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrDescribeConfigsRequest()
	for i := range 1000 {
		req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{
			ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: strings.Repeat(" ", i%3) + "1"})
	}
	entries, refused := 0, 0
	for _, r := range call[*kmsg.DescribeConfigsResponse](w, 4, req).Resources {
		entries += len(r.Configs)
		if r.ErrorCode == kerr.InvalidRequest.Code {
			refused++
		}
	}
	if entries < maxDescribedAgain || entries > maxDescribedAgain+1000 || refused < 900 {
		t.Errorf("%d configurations, %d resources refused", entries, refused)
	}
}
