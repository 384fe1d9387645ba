// Package load keeps brokers busy with idempotent producers while something bad
// happens to them, and checks what is there afterwards against what was acknowledged.
package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// outstanding is how many records of a producer wait for their acknowledgement at a
// time, at most.
const outstanding = 100

// flushLimit is how long a producer may take in the end to get rid of what is
// outstanding.
const flushLimit = 60 * time.Second

// Producer is one producer. Its records carry its number and their own.
type Producer struct {
	number     uint32
	topic      string
	partitions uint32
	client     *kgo.Client

	// Pause is between two records, 0 for as fast as acknowledgements come. It may be
	// set before Run.
	Pause time.Duration

	mu    sync.Mutex
	acked []position // of record n; the zero position if it was not acknowledged
	count int        // acknowledged
	err   error
}

// position is where a record was acknowledged to be.
type position struct {
	acked     bool
	partition int32
	offset    int64
}

// New makes a producer to all partitions of a topic in turn. Numbers tell producers
// apart; the client partitions by hand.
func New(client *kgo.Client, number int, topic string, partitions int) *Producer {
	return &Producer{number: uint32(number), topic: topic, partitions: uint32(partitions), client: client}
}

// Run produces until ctx ends, and then waits for the acknowledgements of what is
// outstanding.
func (p *Producer) Run(ctx context.Context) {
	slots := make(chan struct{}, outstanding)
	for n := uint32(0); ctx.Err() == nil; n++ {
		slots <- struct{}{}
		time.Sleep(p.Pause)
		value := make([]byte, 8+n%300)
		binary.BigEndian.PutUint32(value, p.number)
		binary.BigEndian.PutUint32(value[4:], n)
		p.mu.Lock()
		p.acked = append(p.acked, position{})
		p.mu.Unlock()
		record := &kgo.Record{Topic: p.topic, Partition: int32(n % p.partitions), Value: value}
		p.client.Produce(context.Background(), record, func(r *kgo.Record, err error) {
			p.done(n, r, err)
			<-slots
		})
	}
	flush, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	if err := p.client.Flush(flush); err != nil {
		p.mu.Lock()
		p.err = errors.Join(p.err, fmt.Errorf("flush: %w", err))
		p.mu.Unlock()
	}
}

func (p *Producer) done(n uint32, r *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.acked[n] = position{true, r.Partition, r.Offset}
		p.count++
	case p.err == nil:
		p.err = err
	}
}

// Acknowledged is how many records of all producers were acknowledged so far.
func Acknowledged(producers []*Producer) int {
	n := 0
	for _, p := range producers {
		p.mu.Lock()
		n += p.count
		p.mu.Unlock()
	}
	return n
}
