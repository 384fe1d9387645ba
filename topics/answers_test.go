package topics_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAnswersAreKafkas replays testdata/answers, which was recorded from Kafka 3.9.2.
// Each command's input is JSON (see question); the output is "ok" or the error with
// its message. With COMPARE_WITH_KAFKA=host:port, the address of a fresh single
// broker with id 1, the commands go there instead; with -rewrite as well they record.
func TestAnswersAreKafkas(t *testing.T) {
	if address := os.Getenv("COMPARE_WITH_KAFKA"); address != "" {
		k, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		replay(t, &realKafka{conn: k})
		return
	}
	synctest.Test(t, func(t *testing.T) {
		l, stop := newLab(t, zkserver.NewMemStore(), nil)
		defer stop()
		replay(t, l)
	})
}

// question is the input of a command.
type question struct {
	Name       string            `json:"name"`
	Partitions int32             `json:"partitions"` // create, expand
	Replicas   int16             `json:"replicas"`   // create
	Assignment [][]int32         `json:"assignment"` // create, expand
	Numbers    []int32           `json:"numbers"`    // create: of the partitions in Assignment, 0, 1, … if absent
	Configs    map[string]string `json:"configs"`    // create, replace
	Ops        [][3]string       `json:"ops"`        // change: operation, name, value
	Validate   bool              `json:"validate"`
}

// answerer is what answers questions: this broker, or Kafka.
type answerer interface {
	create(q question) error
	expand(q question) error
	delete(q question) error
	replace(q question) error
	change(q question) error
	own(q question) (map[string]string, error)
	settle() // until deletions are over
}

func replay(t *testing.T, to answerer) {
	datadriven.RunTest(t, "testdata/answers", func(t *testing.T, d *datadriven.TestData) string {
		var q question
		if err := json.Unmarshal([]byte(d.Input), &q); err != nil {
			d.Fatalf(t, "%v", err)
		}
		commands := map[string]func(question) error{
			"create": to.create, "expand": to.expand, "delete": to.delete, "replace": to.replace, "change": to.change,
		}
		if d.Cmd == "settle" {
			to.settle()
			return "ok"
		}
		if d.Cmd == "own" {
			values, err := to.own(q)
			if err != nil {
				return describe(err)
			}
			var out []string
			for name, value := range values {
				out = append(out, name+"="+value)
			}
			slices.Sort(out)
			return strings.Join(out, "\n")
		}
		return describe(commands[d.Cmd](q))
	})
}

func describe(err error) string {
	var kind *kerr.Error
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, &kind):
		return "not an error of Kafka: " + err.Error()
	case err.Error() == kind.Error():
		return kind.Message
	}
	return kind.Message + ": " + err.Error()
}

func (q question) numbers() []int32 {
	if q.Numbers != nil {
		return q.Numbers
	}
	numbers := make([]int32, len(q.Assignment))
	for i := range numbers {
		numbers[i] = int32(i)
	}
	return numbers
}

func (q question) ops() []topics.ConfigOp {
	var ops []topics.ConfigOp
	for _, o := range q.Ops {
		op := topics.ConfigOp{Name: o[1], Value: &o[2]}
		switch o[0] {
		case "delete":
			op.Op, op.Value = kmsg.IncrementalAlterConfigOpDelete, nil
		case "append":
			op.Op = kmsg.IncrementalAlterConfigOpAppend
		case "subtract":
			op.Op = kmsg.IncrementalAlterConfigOpSubtract
		}
		ops = append(ops, op)
	}
	return ops
}

const patience = 10 * time.Second

func (l *lab) create(q question) error {
	req := topics.CreateRequest{Name: q.Name, Partitions: q.Partitions, ReplicationFactor: q.Replicas}
	if q.Assignment != nil {
		req.Assignment = map[int32][]int32{}
		for i, number := range q.numbers() {
			req.Assignment[number] = q.Assignment[i]
		}
	}
	for name, value := range q.Configs {
		req.Configs = append(req.Configs, topics.ConfigOp{Name: name, Value: &value})
	}
	return l.topics.Create(l.ctx, []topics.CreateRequest{req}, patience, q.Validate)[0].Err
}

func (l *lab) expand(q question) error {
	req := topics.ExpandRequest{Name: q.Name, Count: q.Partitions, Assignment: q.Assignment}
	return l.topics.Expand(l.ctx, []topics.ExpandRequest{req}, patience, q.Validate)[0]
}

func (l *lab) delete(q question) error { return l.topics.Delete(l.ctx, []string{q.Name}, patience)[0] }

func (l *lab) replace(q question) error {
	var values []topics.ConfigOp
	for name, value := range q.Configs {
		values = append(values, topics.ConfigOp{Name: name, Value: &value})
	}
	return l.topics.ReplaceConfigs(l.ctx, q.Name, values, q.Validate)
}

func (l *lab) change(q question) error {
	return l.topics.ChangeConfigs(l.ctx, q.Name, q.ops(), q.Validate)
}

func (l *lab) own(q question) (map[string]string, error) {
	if _, known := l.view.Snapshot().Topic(q.Name); !known {
		return nil, kerr.UnknownTopicOrPartition
	}
	return l.topics.Configs(l.ctx, q.Name)
}

func (l *lab) settle() { synctest.Wait() }

func (k *realKafka) settle() { time.Sleep(3 * time.Second) }

// realKafka asks a broker over the wire.
type realKafka struct {
	conn net.Conn
	id   int32
}

// answer is an error code with its message as the broker gave it.
type answer struct {
	kind *kerr.Error
	text string
}

func (a *answer) Error() string { return a.text }
func (a *answer) Unwrap() error { return a.kind }

func asError(code int16, message *string) error {
	if code == 0 {
		return nil
	}
	kind := kerr.TypedErrorForCode(code)
	if message == nil || *message == "" {
		return kind
	}
	return &answer{kind, *message}
}

func (k *realKafka) ask(req kmsg.Request, version int16) kmsg.Response {
	req.SetVersion(version)
	k.id++
	if _, err := k.conn.Write(protocol.EncodeRequest(nil, k.id, "test", req)); err != nil {
		panic(err)
	}
	frame, err := protocol.ReadFrame(k.conn, 10<<20, nil)
	if err != nil {
		panic(err)
	}
	body := frame[4:]
	if req.IsFlexible() {
		body = body[1:]
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	if err := resp.ReadFrom(body); err != nil {
		panic(fmt.Sprintf("%T: %v", resp, err))
	}
	return resp
}

func (k *realKafka) create(q question) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.ValidateOnly = int32(patience.Milliseconds()), q.Validate
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = q.Name, q.Partitions, q.Replicas
	for i, number := range q.numbers() {
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: number, Replicas: q.Assignment[i]})
	}
	for name, value := range q.Configs {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	req.Topics = append(req.Topics, topic)
	resp := k.ask(req, 7).(*kmsg.CreateTopicsResponse)
	return asError(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
}

func (k *realKafka) expand(q question) error {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis, req.ValidateOnly = int32(patience.Milliseconds()), q.Validate
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = q.Name, q.Partitions
	for _, replicas := range q.Assignment {
		topic.Assignment = append(topic.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: replicas})
	}
	if q.Assignment != nil && topic.Assignment == nil {
		topic.Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{}
	}
	req.Topics = append(req.Topics, topic)
	resp := k.ask(req, 3).(*kmsg.CreatePartitionsResponse)
	return asError(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
}

func (k *realKafka) delete(q question) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = int32(patience.Milliseconds())
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &q.Name}}
	resp := k.ask(req, 6).(*kmsg.DeleteTopicsResponse)
	return asError(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
}

func (k *realKafka) replace(q question) error {
	req := kmsg.NewPtrAlterConfigsRequest()
	req.ValidateOnly = q.Validate
	resource := kmsg.NewAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, q.Name
	for name, value := range q.Configs {
		resource.Configs = append(resource.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: name, Value: &value})
	}
	req.Resources = append(req.Resources, resource)
	resp := k.ask(req, 2).(*kmsg.AlterConfigsResponse)
	return asError(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
}

func (k *realKafka) change(q question) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = q.Validate
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, q.Name
	for _, o := range q.ops() {
		resource.Configs = append(resource.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: o.Name, Op: o.Op, Value: o.Value})
	}
	req.Resources = append(req.Resources, resource)
	resp := k.ask(req, 1).(*kmsg.IncrementalAlterConfigsResponse)
	return asError(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
}

func (k *realKafka) own(q question) (map[string]string, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: q.Name}}
	resp := k.ask(req, 4).(*kmsg.DescribeConfigsResponse)
	own := map[string]string{}
	for _, c := range resp.Resources[0].Configs {
		if c.Source == kmsg.ConfigSourceDynamicTopicConfig && c.Value != nil {
			own[c.Name] = *c.Value
		}
	}
	return own, asError(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
}
