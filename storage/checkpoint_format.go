package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Names of Kafka's checkpoint files, one of each in every log directory. They
// share one text format: a version line ("0"), a line with the number of
// entries, and one line "topic partition offset" for each. An empty file means
// no entries: Kafka creates its checkpoint files empty.
const (
	recoveryPointFile = "recovery-point-offset-checkpoint"
	logStartFile      = "log-start-offset-checkpoint"
	highWatermarkFile = "replication-offset-checkpoint"
	cleanerFile       = "cleaner-offset-checkpoint"
)

const checkpointVersion = 0

// errCheckpoint is wrapped by every error about a checkpoint file's content.
var errCheckpoint = errors.New("malformed checkpoint")

// offsetLine is one entry of a checkpoint file.
type offsetLine struct {
	tp     protocol.TopicPartition
	offset int64
}

// parseCheckpoint reads a whole checkpoint file. It believes only what Kafka
// or this broker can have written: the right version, as many lines as the
// count says, three fields in each, numbers that are not negative. Where a
// partition stands twice the last line counts.
func parseCheckpoint(data []byte) (map[protocol.TopicPartition]int64, error) {
	lines := splitLines(data)
	if len(lines) == 0 {
		return nil, nil
	}
	if v, err := parseNumber(lines[0], math.MaxInt32); err != nil {
		return nil, fmt.Errorf("%w: version line %q", errCheckpoint, clip(lines[0]))
	} else if v != checkpointVersion {
		return nil, fmt.Errorf("%w: version %d, want %d", errCheckpoint, v, checkpointVersion)
	}
	if len(lines) == 1 {
		return nil, nil
	}
	count, err := parseNumber(lines[1], math.MaxInt32)
	if err != nil {
		return nil, fmt.Errorf("%w: count line %q", errCheckpoint, clip(lines[1]))
	}
	if entries := len(lines) - 2; int64(entries) != count {
		return nil, fmt.Errorf("%w: %d entries where the count says %d", errCheckpoint, entries, count)
	}
	offsets := make(map[protocol.TopicPartition]int64, count)
	for i, line := range lines[2:] {
		entry, err := parseOffsetLine(line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", errCheckpoint, i+3, err)
		}
		offsets[entry.tp] = entry.offset
	}
	return offsets, nil
}

func parseOffsetLine(line []byte) (offsetLine, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 || len(fields[0]) == 0 {
		return offsetLine{}, fmt.Errorf("%q has %d fields, want topic, partition and offset", clip(line), len(fields))
	}
	partition, err := parseNumber(fields[1], math.MaxInt32)
	if err != nil {
		return offsetLine{}, fmt.Errorf("partition %q", clip(fields[1]))
	}
	offset, err := parseNumber(fields[2], math.MaxInt64)
	if err != nil {
		return offsetLine{}, fmt.Errorf("offset %q", clip(fields[2]))
	}
	return offsetLine{protocol.TopicPartition{Topic: string(fields[0]), Partition: int32(partition)}, offset}, nil
}

// parseNumber reads a decimal number in 0 … limit.
func parseNumber(field []byte, limit int64) (int64, error) {
	n, err := strconv.ParseInt(string(field), 10, 64)
	if err != nil || n < 0 || n > limit {
		return 0, fmt.Errorf("%q is not a number in 0 … %d", clip(field), limit)
	}
	return n, nil
}

// splitLines cuts data into lines as a Java reader does: a final line end does
// not start another line, and "\r\n" is one end.
func splitLines(data []byte) [][]byte {
	if len(data) == 0 {
		return nil
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	for i := range lines {
		lines[i] = bytes.TrimSuffix(lines[i], []byte("\r"))
	}
	return lines
}

// clip shortens what is quoted from a damaged file.
func clip(b []byte) []byte { return b[:min(len(b), 80)] }

// appendCheckpointHead appends the beginning of a checkpoint file that has so many
// lines.
func appendCheckpointHead(dst []byte, lines int) []byte {
	dst = strconv.AppendInt(dst, checkpointVersion, 10)
	dst = append(dst, '\n')
	dst = strconv.AppendInt(dst, int64(lines), 10)
	return append(dst, '\n')
}

func appendOffsetLine(dst []byte, l offsetLine) []byte {
	dst = append(dst, l.tp.Topic...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(l.tp.Partition), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, l.offset, 10)
	return append(dst, '\n')
}
