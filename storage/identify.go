package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// maxMetaBytes bounds what is read of a file that holds a few lines.
const maxMetaBytes = 1 << 20

// readMeta reads the directory's meta.properties. A missing one is fine: the
// directory is new.
func (d *directory) readMeta() error {
	d.meta = noMeta
	name := d.join(metaFile)
	data, err := vfs.ReadFile(d.fs, name, maxMetaBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		d.fail(err)
		return nil
	}
	if d.meta, err = parseMeta(data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	d.hasMeta = true
	return nil
}

// Meta returns whose the log directories are: the broker id and the cluster id
// in their meta.properties. In directories that are new it is -1 and "".
func (s *Store) Meta() Meta {
	all := noMeta
	for _, d := range s.dirs {
		if all.BrokerID < 0 {
			all.BrokerID = d.meta.BrokerID
		}
		if all.ClusterID == "" {
			all.ClusterID = d.meta.ClusterID
		}
	}
	return all
}

// checkMetaAgree refuses directories that cannot belong together.
func (s *Store) checkMetaAgree() error {
	brokers := map[int32]string{}
	clusters := map[string]string{}
	directories := map[string]string{}
	for _, d := range s.dirs {
		if !d.hasMeta {
			continue
		}
		if d.meta.BrokerID >= 0 {
			brokers[d.meta.BrokerID] = d.path
		}
		if d.meta.ClusterID != "" {
			clusters[d.meta.ClusterID] = d.path
		}
		if id := d.meta.DirectoryID; id != "" {
			if other, twice := directories[id]; twice {
				return fmt.Errorf("%s and %s have the same directory.id %s: one is a copy of the other", other, d.path, id)
			}
			directories[id] = d.path
		}
	}
	if len(brokers) > 1 {
		return fmt.Errorf("the log directories belong to different brokers: %v", brokers)
	}
	if len(clusters) > 1 {
		return fmt.Errorf("the log directories belong to different clusters: %v", clusters)
	}
	return nil
}

// Identify checks that every log directory belongs to this broker and cluster,
// and writes meta.properties where it is missing or incomplete; an existing
// directory.id stays. It comes before [Store.Load]: nothing else may touch
// another broker's data.
func (s *Store) Identify(brokerID int32, clusterID string) error {
	for _, d := range s.dirs {
		if !d.online() {
			continue
		}
		if m := d.meta; m.BrokerID >= 0 && m.BrokerID != brokerID {
			return fmt.Errorf("log directory %s belongs to broker %d, and this is broker %d: "+
				"set broker.id accordingly, or use an empty directory (says %s)", d.path, m.BrokerID, brokerID, d.join(metaFile))
		}
		if m := d.meta; m.ClusterID != "" && m.ClusterID != clusterID {
			return fmt.Errorf("log directory %s belongs to cluster %s, and ZooKeeper says that this is cluster %s: "+
				"check zookeeper.connect, or use an empty directory (says %s)", d.path, m.ClusterID, clusterID, d.join(metaFile))
		}
	}
	for _, d := range s.dirs {
		if !d.online() {
			continue
		}
		if err := d.room.begin(); err != nil {
			d.fail(fmt.Errorf("reserve room: %w", err))
		}
	}
	for _, d := range s.dirs {
		want := d.meta
		want.BrokerID, want.ClusterID = brokerID, clusterID
		if !d.online() || d.hasMeta && want == d.meta {
			continue
		}
		if err := vfs.WriteFileAtomic(d.fs, d.join(metaFile), want.encode(time.Now())); err != nil {
			d.fail(fmt.Errorf("write %s (%d bytes are free): %w", metaFile, d.room.free(), err))
			continue
		}
		d.meta, d.hasMeta = want, true
	}
	return s.requireOnline()
}
