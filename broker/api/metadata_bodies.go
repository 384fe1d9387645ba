package api

import (
	"sync"

	"github.com/gracchus-mq/gracchus/cluster"
)

// maxMetadataBodies bounds how many responses are kept: clients of one cluster
// are few kinds.
const maxMetadataBodies = 16

// metadataBodies keeps what was answered to those who asked for all topics, for
// as long as the snapshot lasts. However many ask, it is written once, and they
// share the memory.
type metadataBodies struct {
	mu       sync.Mutex // also held while one is written: others want the same
	snapshot *cluster.Snapshot
	bodies   map[metadataWriter][]byte
}

// all returns the response about all topics, without its throttle time. It must
// not be written to.
func (m *metadataBodies) all(w *metadataWriter, clusterID string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.snapshot != w.snapshot || len(m.bodies) >= maxMetadataBodies {
		m.snapshot, m.bodies = w.snapshot, map[metadataWriter][]byte{}
	}
	if b, ok := m.bodies[*w]; ok {
		return b
	}
	b := w.head(nil, clusterID)
	b = appendArray(b, w.snapshot.TopicCount(), w.flexible)
	for t := range w.snapshot.Topics() {
		b = w.topic(b, t)
	}
	b = w.end(b)
	m.bodies[*w] = b
	return b
}
