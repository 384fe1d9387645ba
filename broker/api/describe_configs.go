package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/topics"
)

type describeConfigs struct {
	brokerID int32
	view     *cluster.View
	settings *config.Settings
	topics   Topics
	codes    codes
}

func (h *describeConfigs) handle(ctx context.Context, _ *server.Request, req *kmsg.DescribeConfigsRequest) (*kmsg.DescribeConfigsResponse, error) {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	seen := make(map[describedResource]bool, len(req.Resources))
	described := 0
	for i := range req.Resources {
		q := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = q.ResourceType, q.ResourceName
		out.ErrorMessage = stringPtr("") // Kafka's "no message" here
		resource := describedResource{q.ResourceType, strings.TrimSpace(q.ResourceName)}
		var entries []config.Entry
		err := error(nil)
		if seen[resource] && described > maxDescribedAgain {
			err = invalidRequest("Resource %s is named too often", resource.name)
		} else {
			entries, err = h.entries(ctx, q)
		}
		seen[resource] = true
		described += len(entries)
		if err != nil {
			var text *string
			if out.ErrorCode, text = h.codes.withMessage(err); text != nil {
				out.ErrorMessage = text
			}
		}
		for _, e := range entries {
			if q.ConfigNames == nil || len(q.ConfigNames) == 0 || slices.Contains(q.ConfigNames, e.Name) {
				out.Configs = append(out.Configs, describeEntry(&e, req.IncludeSynonyms, req.IncludeDocumentation))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}

// describedResource is a resource in a form in which it is the same.
type describedResource struct {
	kind kmsg.ConfigResourceType
	name string
}

// maxDescribedAgain is how many configurations a response may have before a resource
// that it has described is not described again. Kafka does it however often it is
// asked to, which can make gigabytes of one request.
const maxDescribedAgain = 5000

func (h *describeConfigs) entries(ctx context.Context, q *kmsg.DescribeConfigsRequestResource) ([]config.Entry, error) {
	switch q.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := topics.ValidateName(q.ResourceName); err != nil {
			return nil, err
		}
		if _, ok := h.view.Snapshot().Topic(q.ResourceName); !ok {
			return nil, kerr.UnknownTopicOrPartition
		}
		own, err := h.topics.Configs(ctx, q.ResourceName)
		if err != nil {
			return nil, err
		}
		return h.settings.DescribeTopic(own), nil
	case kmsg.ConfigResourceTypeBroker:
		if q.ResourceName == "" {
			return h.settings.DescribeClusterDefaults(), nil
		}
		id, err := brokerResource(q.ResourceName, "Broker")
		if err != nil {
			return nil, err
		}
		if id != h.brokerID {
			return nil, invalidRequest("Unexpected broker id, expected %d or empty string, but received %s", h.brokerID, q.ResourceName)
		}
		return h.settings.DescribeBroker(), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		return nil, invalidRequest("The levels of loggers are not supported by this version of the broker")
	case configResourceClientMetrics:
		return nil, invalidRequest("Config type client-metrics is only supported on KRaft clusters")
	}
	return nil, withText(malformed, kerr.InvalidRequest)
}

// malformed is Kafka's text for a request that it cannot make sense of.
const malformed = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details."

// configResourceClientMetrics is KIP-714's resource type.
const configResourceClientMetrics kmsg.ConfigResourceType = 16

// invalidRequest is kerr.InvalidRequest with a text for the client.
func invalidRequest(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), kerr.InvalidRequest)
}

// brokerResource parses the name of a broker resource.
func brokerResource(name, what string) (int32, error) {
	id, err := strconv.ParseInt(strings.TrimSpace(name), 10, 32)
	if err != nil {
		return 0, invalidRequest("%s id must be an integer, but it is: %s", what, name)
	}
	return int32(id), nil
}

// describeEntry leaves is_default false in version 0, as Kafka does.
func describeEntry(e *config.Entry, synonyms, documentation bool) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.ReadOnly, out.Source, out.IsSensitive, out.ConfigType = e.Name, e.ReadOnly, e.Source, e.Sensitive, e.Type
	if !e.Null {
		out.Value = &e.Value
	}
	if documentation && e.Doc != "" {
		out.Documentation = &e.Doc
	}
	if synonyms {
		for _, s := range e.Synonyms {
			syn := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			syn.Name, syn.Source = s.Name, s.Source
			if !s.Null {
				syn.Value = stringPtr(s.Value)
			}
			out.ConfigSynonyms = append(out.ConfigSynonyms, syn)
		}
	}
	return out
}
