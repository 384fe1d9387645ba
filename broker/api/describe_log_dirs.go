package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage"
)

// logDirs is *storage.Store.
type logDirs interface{ Dirs() []storage.DirInfo }

type describeLogDirs struct {
	dirs  logDirs
	codes codes
}

func (h *describeLogDirs) handle(_ context.Context, _ *server.Request, req *kmsg.DescribeLogDirsRequest) (*kmsg.DescribeLogDirsResponse, error) {
	wanted := func(protocol.TopicPartition) bool { return true }
	if req.Topics != nil {
		named := map[protocol.TopicPartition]bool{}
		for _, t := range req.Topics {
			for _, p := range t.Partitions {
				named[protocol.TopicPartition{Topic: t.Topic, Partition: p}] = true
			}
		}
		wanted = func(tp protocol.TopicPartition) bool { return named[tp] }
	}
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	dirs := h.dirs.Dirs()
	ends := currentEnds(dirs)
	for _, d := range dirs {
		out := kmsg.NewDescribeLogDirsResponseDir()
		out.Dir = d.Path
		out.TotalBytes, out.UsableBytes = -1, -1
		if d.Err != nil {
			out.ErrorCode = h.codes.of(d.Err)
			resp.Dirs = append(resp.Dirs, out)
			continue
		}
		out.TotalBytes, out.UsableBytes = d.Total, d.Usable
		for _, p := range d.Partitions { // by name: a topic's partitions are neighbours
			if !wanted(p.Partition) {
				continue
			}
			if n := len(out.Topics); n == 0 || out.Topics[n-1].Topic != p.Partition.Topic {
				t := kmsg.NewDescribeLogDirsResponseDirTopic()
				t.Topic = p.Partition.Topic
				out.Topics = append(out.Topics, t)
			}
			q := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			q.Partition, q.Size, q.IsFuture = p.Partition.Partition, p.Size, p.Future
			if p.Future {
				q.OffsetLag = max(ends[p.Partition]-p.EndOffset, 0)
			}
			t := &out.Topics[len(out.Topics)-1]
			t.Partitions = append(t.Partitions, q)
		}
		resp.Dirs = append(resp.Dirs, out)
	}
	return resp, nil
}

// currentEnds are the end offsets of the logs that are served, by which the lag
// of logs that are being moved is measured.
func currentEnds(dirs []storage.DirInfo) map[protocol.TopicPartition]int64 {
	ends := map[protocol.TopicPartition]int64{}
	for _, d := range dirs {
		for _, p := range d.Partitions {
			if !p.Future {
				ends[p.Partition] = p.EndOffset
			}
		}
	}
	return ends
}
