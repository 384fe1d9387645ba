package zkserver

import "sync"

// MemStore is a Store in memory. It can be handed to a second server after the
// first has stopped (or was abandoned), which then sees what was committed, as
// after a restart.
type MemStore struct {
	mu      sync.Mutex
	entries map[memKey][]byte
}

type memKey struct {
	bucket Bucket
	key    string
}

// NewMemStore returns an empty store.
func NewMemStore() *MemStore { return &MemStore{entries: map[memKey][]byte{}} }

// Load implements Store.
func (s *MemStore) Load(visit func(Entry) error) error {
	s.mu.Lock()
	entries := make([]Entry, 0, len(s.entries))
	for k, v := range s.entries {
		entries = append(entries, Entry{k.bucket, k.key, v})
	}
	s.mu.Unlock()
	for _, e := range entries {
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements Store.
func (s *MemStore) Commit(changes []Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range changes {
		if c.Value == nil {
			delete(s.entries, memKey{c.Bucket, c.Key})
		} else {
			s.entries[memKey{c.Bucket, c.Key}] = c.Value
		}
	}
	return nil
}

// HasRoom implements Store.
func (s *MemStore) HasRoom() bool { return true }

// Close implements Store; the entries stay.
func (s *MemStore) Close() error { return nil }
