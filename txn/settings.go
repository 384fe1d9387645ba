package txn

import (
	"cmp"
	"time"

	"github.com/gracchus-mq/gracchus/config"
)

// Limits are the settings of transactional ids.
type Limits struct {
	MaxTimeout time.Duration // transaction.max.timeout.ms
	Expiration time.Duration // transactional.id.expiration.ms
}

// Settings are those of the coordinator. None changes while the broker runs.
type Settings struct {
	Limits
	AbortInterval      time.Duration // transaction.abort.timed.out.transaction.cleanup.interval.ms
	ExpirationInterval time.Duration // transaction.remove.expired.transaction.cleanup.interval.ms
	// RequestTimeout (request.timeout.ms) bounds an append to the log, and a request to
	// another broker. Kafka takes the transaction's timeout for the former.
	RequestTimeout  time.Duration
	LoadBufferBytes int32 // transaction.state.log.load.buffer.size
	MemoryBytes     int64 // what all ids may take in memory
}

// SettingsOf returns the settings of a broker's coordinator, for which memoryBytes is at
// hand unless gracchus.transaction.memory.bytes says something else.
func SettingsOf(cfg *config.Broker, memoryBytes int64) Settings {
	return Settings{
		Limits:             Limits{MaxTimeout: cfg.Transactions.MaxTimeout, Expiration: cfg.Transactions.Expiration},
		AbortInterval:      cfg.Transactions.AbortCheck,
		ExpirationInterval: cfg.Transactions.ExpirationCheck,
		RequestTimeout:     cfg.RequestTimeout,
		LoadBufferBytes:    cfg.Transactions.LoadBufferBytes,
		MemoryBytes:        cmp.Or(cfg.Transactions.MemoryBytes, memoryBytes),
	}
}
