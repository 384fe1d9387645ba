package record

import (
	"errors"
	"runtime"
	"sync"
)

const (
	// smallPayload is what is decompressed without asking whether it is large.
	smallPayload = 1 << 20
	// largePayload is the least bound of what a batch may decompress to, see
	// [MaxDecompressed].
	largePayload = 32 << 20
)

// MaxDecompressed bounds what a batch may decompress to where batches have at most
// that many bytes: what good batches give, and of that size.
func MaxDecompressed(maxMessageBytes int32) int {
	return max(largePayload, 2*int(maxMessageBytes))
}

// Payloads that have been decompressed are what many clients together could fill
// the memory with, a hundred bytes for each one sent. So there is one large one at
// a time and few small ones: nobody waits in between, and more than the processors
// can work on would not be ready sooner.
var (
	opening      = make(chan struct{}, 2*runtime.NumCPU())
	openingLarge sync.Mutex
	largeScratch sync.Pool // of the one large buffer; it is garbage when nobody needs it
)

// openPayload decompresses src, into *buf if it is small, and calls use with the
// result, which is valid until use returns. use may not open another payload, nor wait for anything. Errors are
// those of Decompress, and of use.
func openPayload(buf *[]byte, src []byte, codec Codec, limit int, use func(payload []byte) error) error {
	small := min(limit, smallPayload)
	err := func() error {
		opening <- struct{}{}
		defer func() { <-opening }()
		return decompressFor(buf, src, codec, small, use)
	}()
	if !errors.Is(err, ErrTooLarge) || small == limit {
		return err
	}
	openingLarge.Lock()
	defer openingLarge.Unlock()
	large, _ := largeScratch.Get().(*[]byte)
	if large == nil {
		large = new([]byte)
	}
	defer largeScratch.Put(large)
	return decompressFor(large, src, codec, limit, use)
}

func decompressFor(buf *[]byte, src []byte, codec Codec, limit int, use func(payload []byte) error) error {
	payload, err := decompress(*buf, src, codec, limit)
	if err != nil {
		return err
	}
	*buf = payload
	return use(payload)
}
