package record

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"
)

// What batches decompress to is what many clients together could fill the memory
// with, a hundred bytes for each one that they sent. So all large payloads together
// have a bound. One processor is left to those who open nothing: with none free, they
// would wait for the slices of time that others get, and for the network to be looked
// at. Nobody waits for anything else while holding a processor.

const (
	// smallPayload is what is decompressed without asking whether it is large.
	smallPayload = 1 << 20
	// mediumPayload is tried next, before all that a batch may take: what good
	// batches of a MiB give seldom is more.
	mediumPayload = 8 << 20
	// largePayload is the least bound of what a batch may decompress to, see
	// [MaxDecompressed].
	largePayload = 32 << 20
	// allPayloads bounds those that are not small, together.
	allPayloads = largePayload
)

// MaxDecompressed bounds what a batch may decompress to where batches have at most
// that many bytes: what good batches give, and of that size.
func MaxDecompressed(maxMessageBytes int32) int {
	return max(largePayload, 2*int(maxMessageBytes))
}

var (
	// openers has room for as many as may open at a time. It is no semaphore, whose
	// waiters must be of one synctest bubble: whole brokers are tested in several at once.
	openers   = make(chan struct{}, max(runtime.GOMAXPROCS(0)-1, 1))
	openBytes = semaphore.NewWeighted(allPayloads) // of those that are not small
	// Two pools, for else those that wait for little would hold what is large.
	mediumScratch = sync.Pool{New: func() any { return new([]byte) }}
	largeScratch  = sync.Pool{New: func() any { return new([]byte) }}
)

// openPayload decompresses src and calls use with the result, which is valid until
// use returns; buf is what small ones are decompressed to. use may neither open
// another payload nor wait for anything. Errors are those of Decompress, and of use.
func openPayload(buf *[]byte, src []byte, codec Codec, limit int, use func(payload []byte) error) error {
	size := min(limit, smallPayload)
	err := openWithin(buf, src, codec, size, use)
	for errors.Is(err, ErrTooLarge) && size < limit {
		// Size by size, so that middling ones need not wait for each other.
		scratch := &mediumScratch
		if size < mediumPayload {
			size = min(limit, mediumPayload)
		} else {
			size, scratch = limit, &largeScratch
		}
		err = openLarge(scratch, src, codec, size, use)
	}
	return err
}

// openLarge is openWithin, with a buffer of the pool, once the payload has its share
// of the bytes.
func openLarge(scratch *sync.Pool, src []byte, codec Codec, size int, use func(payload []byte) error) error {
	share := min(int64(size), allPayloads)
	if err := openBytes.Acquire(context.Background(), share); err != nil {
		return err // not reached: the share fits, and the wait has no end
	}
	defer openBytes.Release(share)
	large := scratch.Get().(*[]byte)
	defer scratch.Put(large)
	return openWithin(large, src, codec, size, use)
}

// openWithin is openPayload for a payload of at most that size, once it has a
// processor.
func openWithin(buf *[]byte, src []byte, codec Codec, size int, use func(payload []byte) error) error {
	return inTurn(src, func(src []byte) error {
		payload, err := decompress(*buf, src, codec, size)
		if err != nil {
			return err
		}
		*buf = payload
		return use(payload)
	})
}

// inTurn calls use with a payload once it has a processor. use may not wait for
// anything.
func inTurn(payload []byte, use func(payload []byte) error) error {
	openers <- struct{}{}
	defer func() { <-openers }()
	return use(payload)
}
