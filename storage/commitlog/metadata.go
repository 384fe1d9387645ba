package commitlog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gracchus-mq/gracchus/protocol"
)

// partition.metadata holds the topic's id (KIP-516):
//
//	version: 0
//	topic_id: <22 characters>
//
// without a newline at the end.

var errMetadataFile = errors.New("partition.metadata is invalid")

func parseMetadata(data []byte) (protocol.TopicID, error) {
	fields := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		trimmed := strings.TrimLeft(value, " \t")
		if !ok || trimmed == value || fields[name] != "" {
			return protocol.TopicID{}, fmt.Errorf("%w: line %q", errMetadataFile, line)
		}
		fields[name] = trimmed
	}
	if len(fields) != 2 || fields["version"] != "0" {
		return protocol.TopicID{}, fmt.Errorf("%w: version %q", errMetadataFile, fields["version"])
	}
	id, err := protocol.ParseTopicID(fields["topic_id"])
	if err != nil {
		return protocol.TopicID{}, fmt.Errorf("%w: %w", errMetadataFile, err)
	}
	if id.IsZero() {
		return protocol.TopicID{}, fmt.Errorf("%w: the topic id is zero", errMetadataFile)
	}
	return id, nil
}

func formatMetadata(id protocol.TopicID) []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s", id)
}
