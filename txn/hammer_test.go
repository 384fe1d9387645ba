package txn

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/internal/memlog"
)

// TestHammer has producers of a few ids quarrel while leadership comes and goes: for the
// race detector, and that all are answered.
func TestHammer(t *testing.T) {
	b := newBrokers()
	b.leads(1, "t-0", "u-0")
	b.leads(2, "t-1")
	l := newLab(t, memlog.New(), b, func(c *Config) { c.AbortInterval = time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var clients sync.WaitGroup
	for i := range 8 {
		x := idIn(int32(i % 2))
		clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				r := <-l.init(InitRequest{ID: x, TimeoutMS: 5, ProducerID: NoProducerID, Epoch: NoEpoch})
				if r.Err != nil {
					continue
				}
				<-l.add(x, r.ProducerID, r.Epoch, "t-0", "t-1")
				l.verify(x, r.ProducerID, r.Epoch, "t-0")
				<-l.add(x, r.ProducerID, r.Epoch, "u-0")
				<-l.end(x, r.ProducerID, r.Epoch, n%2 == 0)
				l.c.Stats()
			}
		})
	}
	clients.Go(func() {
		for epoch := int32(1); ctx.Err() == nil; epoch += 2 {
			l.leads(0, epoch)
			l.leads(1, epoch)
			time.Sleep(2 * time.Millisecond)
			l.follows(epoch%2, epoch+1)
			l.follows(1-epoch%2, epoch+1)
		}
	})
	clients.Wait()
	l.stop()
}
