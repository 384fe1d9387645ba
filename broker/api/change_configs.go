package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/topics"
)

// resourceChange is one resource of AlterConfigs or IncrementalAlterConfigs,
// which differ only in what an operation does.
type resourceChange struct {
	kind kmsg.ConfigResourceType
	name string
	ops  []topics.ConfigOp
}

// makeChanges makes, with change, those changes that pass all checks; the errors
// are in the order of the changes.
func makeChanges(ctx context.Context, view *cluster.View, changes []resourceChange, validateOnly bool,
	change func(ctx context.Context, topic string, ops []topics.ConfigOp, validateOnly bool) error) []error {
	errs := checkChanges(changes)
	for i := range changes {
		c := &changes[i]
		if errs[i] == nil {
			errs[i] = checkResource(view.Snapshot(), c)
		}
		if errs[i] == nil {
			errs[i] = change(ctx, c.name, c.ops, validateOnly)
		}
	}
	return errs
}

// checkChanges applies the checks that Kafka makes before it looks at any
// resource; the errors are in the order of the changes.
func checkChanges(changes []resourceChange) []error {
	type resource struct {
		kind kmsg.ConfigResourceType
		name string
	}
	times := make(map[resource]int, len(changes))
	for _, c := range changes {
		times[resource{c.kind, c.name}]++
	}
	errs := make([]error, len(changes))
	for i, c := range changes {
		switch {
		case times[resource{c.kind, c.name}] > 1:
			errs[i] = invalidRequest("Each resource must appear at most once.")
		default:
			errs[i] = checkOps(c.ops)
		}
	}
	return errs
}

func checkOps(ops []topics.ConfigOp) error {
	seen := make(map[string]bool, len(ops))
	nulls := ""
	for _, o := range ops {
		if seen[o.Name] {
			return invalidRequest("Error due to duplicate config keys")
		}
		seen[o.Name] = true
		if o.Value == nil && o.Op != kmsg.IncrementalAlterConfigOpDelete {
			if nulls != "" {
				nulls += ", "
			}
			nulls += o.Name
		}
	}
	if nulls != "" {
		return invalidRequest("Null value not supported for : %s", nulls)
	}
	return nil
}

// checkResource says whether configurations of the resource can be changed here.
func checkResource(s *cluster.Snapshot, c *resourceChange) error {
	switch c.kind {
	case kmsg.ConfigResourceTypeTopic:
		if c.name == "" {
			return withText("Default topic resources are not allowed.", kerr.InvalidRequest)
		}
		if _, ok := s.Topic(c.name); !ok {
			return withText("The topic '"+c.name+"' does not exist.", kerr.UnknownTopicOrPartition)
		}
		return nil
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		return invalidRequest("Changing the configuration of brokers is not supported by this version of the broker")
	}
	if c.kind == configResourceClientMetrics {
		return invalidRequest("AlterConfigs is only supported for topics and brokers, but resource type is CLIENT_METRICS")
	}
	return invalidRequest("Unknown resource type %d", c.kind)
}

// textError is an error whose text goes to the client as it is.
type textError struct {
	text string
	err  error
}

func withText(text string, err error) error { return &textError{text, err} }

func (e *textError) Error() string { return e.text }
func (e *textError) Unwrap() error { return e.err }
