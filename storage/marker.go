package storage

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// cleanShutdownFile exists only while nobody uses the directory and everything
// in it is whole: all segments on disk, indexes cut to size, a producer
// snapshot at each log's end. Only its existence counts.
const cleanShutdownFile = ".kafka_cleanshutdown"

// cleanShutdownContent is what Kafka 3.9 writes. The broker epoch stays −1 with
// ZooKeeper; KRaft puts it there for KIP-966.
const cleanShutdownContent = `{"version":0,"brokerEpoch":-1}`

// consumeMarker reports whether the last shutdown was clean, and removes the
// marker so that a crash from here on is not mistaken for one. The removal is
// durable before any log is opened: otherwise a power loss could bring the
// marker back beside torn files.
func (d *directory) consumeMarker() (clean bool, err error) {
	name := d.join(cleanShutdownFile)
	if _, err := d.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("look for the clean-shutdown marker: %w", err)
	}
	if err := d.fs.Remove(name); err != nil {
		return false, fmt.Errorf("remove the clean-shutdown marker: %w", err)
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		return false, fmt.Errorf("remove the clean-shutdown marker: %w", err)
	}
	return true, nil
}

// writeMarker says that the directory may be opened without recovery.
func (d *directory) writeMarker() error {
	if err := vfs.WriteFileAtomic(d.fs, d.join(cleanShutdownFile), []byte(cleanShutdownContent)); err != nil {
		return fmt.Errorf("write the clean-shutdown marker: %w", err)
	}
	return nil
}
