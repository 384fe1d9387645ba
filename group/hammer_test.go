package group

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// slowLog acknowledges after a while, in any order.
type slowLog struct{ *memlog.Log }

func (l slowLog) Append(n, epoch int32, b record.Batch, acks int16, done func(int64, error)) {
	l.Log.Append(n, epoch, b, acks, func(base int64, err error) {
		time.AfterFunc(time.Duration(rand.Int64N(int64(20*time.Millisecond))), func() { done(base, err) })
	})
}

// TestHammer has many clients at once use two partitions whose leadership comes and
// goes. Every request is answered, and no acknowledged offset is lost.
func TestHammer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		l := newLab(t, log, func(s *Settings) { s.InitialRebalanceDelay = 10 * time.Millisecond })
		l.c.log = slowLog{log}
		var clients, mover sync.WaitGroup
		over := make(chan struct{})
		mover.Go(func() {
			for epoch := int32(1); ; epoch += 2 {
				for n := range int32(2) {
					l.leads(n, epoch)
				}
				select {
				case <-over:
					return
				case <-time.After(200 * time.Millisecond):
				}
				for n := range int32(2) {
					l.follows(n, epoch+1)
				}
			}
		})
		const workers, groups = 8, 3
		var acknowledged [workers]int64
		for i := range workers {
			clients.Go(func() {
				group := fmt.Sprint("g", i%groups)
				id, gen := "", NoGeneration
				for n := int64(1); n <= 300; n++ {
					if id == "" || gen == NoGeneration {
						j := <-l.join(JoinRequest{Group: group, MemberID: id, ClientID: fmt.Sprint(i), TwoSteps: true})
						if id, gen = j.MemberID, j.Generation; gen != NoGeneration {
							if s := <-l.sync(SyncRequest{Group: group, MemberID: id, Generation: gen}); s.Err != nil {
								gen = NoGeneration
							}
						} else if j.Err != errMemberIDRequired {
							id = ""
							time.Sleep(10 * time.Millisecond)
						}
						continue
					}
					if l.c.Heartbeat(&HeartbeatRequest{Group: group, MemberID: id, Generation: gen}) != nil {
						gen = NoGeneration
					}
					c := &Commit{Group: group, MemberID: id, Generation: gen, Offsets: []CommitOffset{
						{Topic: "t", Partition: int32(i), Offset: n, LeaderEpoch: -1, CommitMS: NoTime, ExpireMS: NoExpiry},
					}}
					<-l.commit(c)
					if c.Offsets[0].Err == nil {
						acknowledged[i] = n
					}
					if n%50 == 0 {
						l.c.Leave(group, []Leaving{{MemberID: id}})
						id, gen = "", NoGeneration
					}
				}
			})
		}
		clients.Wait()
		close(over)
		mover.Wait()
		for n := range int32(2) {
			l.follows(n, 1<<20)
			l.leads(n, 1<<20+1)
		}
		synctest.Wait()
		for i, want := range acknowledged {
			got, err := l.c.FetchOffsets(nil, fmt.Sprint("g", i%groups), []protocol.TopicPartition{{Topic: "t", Partition: int32(i)}})
			if err != nil || got[0].Offset < want || want == 0 {
				t.Errorf("client %d: %v, %v, acknowledged is %d", i, got, err, want)
			}
		}
		l.stop()
	})
}
