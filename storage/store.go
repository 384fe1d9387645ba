package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/cleaner"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Config is what a Store needs to know.
type Config struct {
	config.Storage // Dirs, and the intervals of the periodic work

	ProducerExpiration      time.Duration // producer.id.expiration.ms
	ProducerExpirationCheck time.Duration // producer.id.expiration.check.interval.ms; ≤ 0 never
	VerifyTransactions      func() bool   // transaction.partition.verification.enable as it is now; nil verifies nothing

	// FileDeleteDelay is how long a deleted partition's directory stays
	// (log.segment.delete.delay.ms). It is asked each time, because it can change;
	// nil stands for Kafka's default of a minute.
	FileDeleteDelay func() time.Duration

	// Compaction is how logs are compacted. It is asked each time, because it can
	// change; nil: they are not.
	Compaction func() config.Cleaner

	// LoadWorkers is how many logs are opened or closed at a time; 0 stands for
	// twice GOMAXPROCS, and for as many as closers when they are closed.
	LoadWorkers int
}

// Store holds the logs in a broker's log directories. It is safe for concurrent
// use, but its life goes in order: Open, Identify, Load, Start, Stop.
//
// Locks: a log's own lock may be held while a checkpoints.mu is taken, and mu
// may be taken while holding nothing else but these; no log is called while mu
// is held.
type Store struct {
	cfg    Config
	files  *commitlog.FileCache
	logger *slog.Logger
	dirs   []*directory // fixed

	cleaner *cleaner.Cleaner

	mu      sync.RWMutex
	live    map[string]map[int32]*hosted // by topic and partition
	aside   []*hosted                    // -future logs: open, but not served
	busy    map[protocol.TopicPartition]chan struct{}
	onFail  []func(dir string, partitions []protocol.TopicPartition)
	onFatal []func(error)
	onFlush []func(protocol.TopicPartition)
	onRoom  []func()
	started bool
	stopped bool

	// changedWhileLoading holds what SetTopicConfig has said since the
	// configurations for loading were taken; nil outside Load.
	changedWhileLoading map[string]*config.Topic

	uncreated atomic.Bool // some partition could not be created for want of room

	failed  chan *directory // directories that have just failed; never full
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Open takes the lock of every log directory, creating those that are missing,
// and reads whose they are. A directory with an I/O error is left out, as one
// that fails later would be; the error is about what must keep the broker from
// starting: a directory that is in use, or belongs to somebody else, or no
// directory that works. files is shared by all logs; a nil logger discards.
//
// After an error nothing is held. After success [Store.Stop] must be called.
func Open(cfg Config, fsys vfs.FS, files *commitlog.FileCache, logger *slog.Logger) (*Store, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Dirs) == 0 {
		return nil, errors.New("log.dirs names no directory")
	}
	s := &Store{
		cfg:    cfg,
		files:  files,
		logger: logger,
		live:   map[string]map[int32]*hosted{},
		busy:   map[protocol.TopicPartition]chan struct{}{},
		failed: make(chan *directory, len(cfg.Dirs)),
	}
	seen := map[string]bool{}
	for _, name := range cfg.Dirs {
		path, err := filepath.Abs(name)
		if err != nil {
			return nil, fmt.Errorf("log directory %q: %w", name, err)
		}
		if seen[path] {
			return nil, fmt.Errorf("log.dirs names %s twice", path)
		}
		seen[path] = true
		s.dirs = append(s.dirs, newDirectory(path, fsys, cfg.ReserveBytes, s.failed, logger))
	}
	if err := s.prepare(); err != nil {
		s.releaseAll()
		return nil, err
	}
	s.cleaner = cleaner.New(cleaner.Config{
		InitialDelay:  cfg.InitialTaskDelay,
		CheckInterval: cfg.RetentionCheck,
		Compaction:    cfg.Compaction,
		Begin:         func(log *commitlog.Log) error { return s.checkpoint(log, recoveryPoints) },
		Cleaned:       func(log *commitlog.Log) error { return s.checkpoint(log, cleanerOffsets) },
	}, s.allLogs, logger)
	return s, nil
}

func (s *Store) prepare() error {
	for _, d := range s.dirs {
		if err := d.prepare(); err != nil {
			return err
		}
		if err := d.cause(); err != nil {
			s.logger.Error("log directory cannot be used", "dir", d.path, "err", err)
		}
	}
	if err := s.requireOnline(); err != nil {
		return err
	}
	return s.checkMetaAgree()
}

// requireOnline is nil while at least one log directory works; otherwise the
// error wraps kerr.KafkaStorageError.
func (s *Store) requireOnline() error {
	var causes []error
	for _, d := range s.dirs {
		err := d.cause()
		if err == nil {
			return nil
		}
		causes = append(causes, fmt.Errorf("%s: %w", d.path, err))
	}
	return fmt.Errorf("none of the log directories works: %w: %w", kerr.KafkaStorageError, errors.Join(causes...))
}

func (s *Store) releaseAll() {
	for _, d := range s.dirs {
		d.release()
	}
}

// Log returns the open log of a partition. There is none for a partition that
// is not here, and none for one in a directory that has failed.
func (s *Store) Log(tp protocol.TopicPartition) (*commitlog.Log, bool) {
	s.mu.RLock()
	h := s.live[tp.Topic][tp.Partition]
	s.mu.RUnlock()
	if h == nil || !h.dir.online() {
		return nil, false
	}
	return h.log, true
}

// Logs yields all logs that are served, in no order, as they are when the
// iteration begins.
func (s *Store) Logs() iter.Seq2[protocol.TopicPartition, *commitlog.Log] {
	return func(yield func(protocol.TopicPartition, *commitlog.Log) bool) {
		for _, h := range s.snapshot(nil, nil) {
			if !yield(h.tp, h.log) {
				return
			}
		}
	}
}

// allLogs is Logs without the names, for the cleaner.
func (s *Store) allLogs() iter.Seq[*commitlog.Log] {
	return func(yield func(*commitlog.Log) bool) {
		for _, log := range s.Logs() {
			if !yield(log) {
				return
			}
		}
	}
}

// snapshot returns in buf the logs that are served from d, or from anywhere if
// d is nil.
func (s *Store) snapshot(buf []*hosted, d *directory) []*hosted {
	buf = buf[:0]
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, partitions := range s.live {
		for _, h := range partitions {
			if d == h.dir || d == nil && h.dir.online() {
				buf = append(buf, h)
			}
		}
	}
	return buf
}

// publish makes h the log of its partition. The caller holds mu.
func (s *Store) publish(h *hosted) {
	partitions := s.live[h.tp.Topic]
	if partitions == nil {
		partitions = map[int32]*hosted{}
		s.live[h.tp.Topic] = partitions
	}
	partitions[h.tp.Partition] = h
}

// withdraw undoes publish. The caller holds mu.
func (s *Store) withdraw(h *hosted) {
	partitions := s.live[h.tp.Topic]
	if partitions[h.tp.Partition] != h {
		return
	}
	delete(partitions, h.tp.Partition)
	if len(partitions) == 0 {
		delete(s.live, h.tp.Topic)
	}
}

// serves reports whether h is still the log of its partition.
func (s *Store) serves(h *hosted) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live[h.tp.Topic][h.tp.Partition] == h
}

// SetTopicConfig gives all logs of a topic a new configuration, also those that
// Load is yet to open.
func (s *Store) SetTopicConfig(topic string, cfg *config.Topic) {
	s.mu.Lock()
	if s.changedWhileLoading != nil {
		s.changedWhileLoading[topic] = cfg
	}
	logs := make([]*hosted, 0, len(s.live[topic]))
	for _, h := range s.live[topic] {
		logs = append(logs, h)
	}
	s.mu.Unlock()
	for _, h := range logs {
		h.log.SetConfig(cfg)
		if hurries(h) {
			h.dir.flushSoon()
		}
	}
}
