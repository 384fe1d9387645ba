package storage

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
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
			all = append(all, f)
			if kind != liveDir && kind != futureDir {
				continue
			}
			switch other := first[key{tp, kind}]; {
			case other == nil:
				first[key{tp, kind}] = f
			case f.unborn():
				f.kind = unbornDir
			case other.unborn():
				other.kind = unbornDir
				first[key{tp, kind}] = f
			default:
				return nil, fmt.Errorf("partition %v is in both %s and %s: a move between log directories was probably cut short; "+
					"remove the one that is on the disk that failed", tp, other.dir.join(other.name), d.join(name))
			}
		}
	}
	return all, nil
}

// unborn reports whether the directory is what is left of a creation that a
// failing disk has cut short: it has no record and no topic id, which is written
// before the first record. The partition was created in another directory then.
func (f *found) unborn() bool {
	entries, err := f.dir.fs.ReadDir(f.dir.join(f.name))
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.Name() == "partition.metadata" {
			return false
		}
		if strings.HasSuffix(e.Name(), ".log") && !f.isBlank(e.Name()) {
			return false
		}
	}
	return true
}

// isBlank reports whether a segment is empty, or begins with the zeros of
// preallocate=true in the place of a batch.
func (f *found) isBlank(name string) bool {
	file, err := f.dir.fs.OpenFile(f.dir.join(filepath.Join(f.name, name)), os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, record.LogOverhead)
	n, err := file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return false
	}
	return !slices.ContainsFunc(head[:n], func(b byte) bool { return b != 0 })
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
