package storage

import (
	"fmt"
	"io/fs"

	"github.com/gracchus-mq/gracchus/protocol"
)

// found is a partition's directory that has not been opened yet.
type found struct {
	dir  *directory
	name string // of the sub-directory
	tp   protocol.TopicPartition
	kind dirKind
	cost int64 // bytes that opening it may have to read, for the order of loading
}

// scan lists what is in all directories that are online and refuses what Kafka
// refuses: a sub-directory that is no partition's, and two directories for one
// partition. Nothing has been changed on any disk by then.
func (s *Store) scan() ([]*found, error) {
	type key struct {
		tp   protocol.TopicPartition
		kind dirKind
	}
	var all []*found
	first := map[key]*found{}
	for _, d := range s.dirs {
		if !d.online() {
			continue
		}
		names, err := d.subdirectories()
		if err != nil {
			d.fail(fmt.Errorf("list: %w", err))
			continue
		}
		for _, name := range names {
			if foreignDir(name) {
				continue
			}
			tp, kind, err := parseDirName(name)
			if err != nil {
				return nil, fmt.Errorf("log directory %s has a sub-directory that belongs to no partition: %w; move it elsewhere "+
					"(if %s is the root of a file system, use a directory below it)", d.path, err, d.path)
			}
			f := &found{dir: d, name: name, tp: tp, kind: kind}
			if kind == liveDir || kind == futureDir {
				if other := first[key{tp, kind}]; other != nil {
					return nil, fmt.Errorf("partition %v is in both %s and %s: a move between log directories was probably cut short; "+
						"remove the one that is on the disk that failed", tp, other.dir.join(other.name), d.join(name))
				}
				first[key{tp, kind}] = f
			}
			all = append(all, f)
		}
	}
	return all, nil
}

// subdirectories lists the names of the directories in d, links to some
// included: operators put single partitions on other disks that way.
func (d *directory) subdirectories() ([]string, error) {
	entries, err := d.fs.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := d.fs.Stat(d.join(e.Name()))
			isDir = err == nil && info.IsDir()
		}
		if isDir {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
