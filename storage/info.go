package storage

import (
	"cmp"
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
)

// DirInfo describes a log directory, as DescribeLogDirs does.
type DirInfo struct {
	Path string
	// Err is nil while the directory is online; afterwards it wraps
	// kerr.KafkaStorageError and nothing below is set.
	Err        error
	Partitions []PartitionInfo // by name
	// Total and Usable are bytes of the file system that holds the directory;
	// -1 if unknown.
	Total, Usable int64
}

// PartitionInfo describes a log in a directory.
type PartitionInfo struct {
	Partition protocol.TopicPartition
	Size      int64 // bytes in all segments
	EndOffset int64
	Future    bool // the target of a move between directories
}

// Dirs describes all log directories in the order of log.dirs.
func (s *Store) Dirs() []DirInfo {
	infos := make([]DirInfo, 0, len(s.dirs))
	for _, d := range s.dirs {
		infos = append(infos, s.describe(d))
	}
	return infos
}

func (s *Store) describe(d *directory) DirInfo {
	info := DirInfo{Path: d.path, Total: -1, Usable: -1}
	usable, total, err := d.fs.Space(d.path)
	if err == nil {
		info.Usable, info.Total = usable, total
	}
	logs := s.snapshot(nil, d)
	s.mu.RLock()
	for _, h := range s.aside {
		if h.dir == d {
			logs = append(logs, h)
		}
	}
	s.mu.RUnlock()
	if info.Err = d.err(); info.Err != nil {
		return info
	}
	for _, h := range logs {
		info.Partitions = append(info.Partitions, PartitionInfo{h.tp, h.log.Size(), h.log.EndOffset(), h.kind == futureDir})
	}
	slices.SortFunc(info.Partitions, func(a, b PartitionInfo) int {
		return cmp.Or(a.Partition.Compare(b.Partition), boolCompare(a.Future, b.Future))
	})
	return info
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
