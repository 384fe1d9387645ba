package txn

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// TestCrashBetweenEveryTwoSteps lets a coordinator die after each thing that is durable
// of a transaction, records of its own and markers in partitions, and another take over
// from what is there: all partitions end with one result, and the one that was promised.
func TestCrashBetweenEveryTwoSteps(t *testing.T) {
	for _, how := range []string{"commit", "abort", "fence", "time out"} {
		t.Run(how, func(t *testing.T) {
			for steps := 0; ; steps++ {
				reached := 0
				synctest.Test(t, func(t *testing.T) { reached = crashAfter(t, how, steps) })
				if reached < steps {
					if reached < 7 { // Init, Add, Prepare, three markers, Complete
						t.Errorf("%d steps", reached)
					}
					return
				}
				if t.Failed() {
					t.Fatalf("after %d steps", steps)
				}
			}
		})
	}
}

// crashAfter returns how many steps there were.
func crashAfter(t *testing.T, how string, steps int) (reached int) {
	log, b := memlog.New(), newBrokers()
	b.leads(1, "t-0", "u-0")
	b.leads(2, "t-1")
	var mu sync.Mutex
	left := steps
	step := func() bool {
		mu.Lock()
		defer mu.Unlock()
		if left == 0 {
			return false
		}
		left--
		reached++
		return true
	}
	log.Appended = func(int32, record.Batch) bool { return step() }
	b.written = func(protocol.TopicPartition, string) bool { return step() }

	x := idIn(1)
	first := newLab(t, log, b)
	first.leads(1, 1)
	synctest.Wait()
	told := begin(first, x, how)
	// Nobody has stopped the first one properly: what it has not written, it never will.
	first.follows(1, 2)
	first.stop()
	log.Appended, b.written = nil, nil

	second := newLab(t, log, b)
	defer second.stop()
	second.nextID.Store(5000)
	second.leads(1, 3)
	time.Sleep(2 * time.Minute) // who was promised nothing is aborted by then
	result := ""
	for _, p := range []string{"t-0", "t-1", "u-0"} {
		marker := lastMarker(b, p)
		if result == "" {
			result = marker
		}
		if marker != result {
			t.Errorf("%s ends with %q, and another with %q", p, marker, result)
		}
	}
	outcome := map[string]string{"commit 1000/0": "commit", "abort 1000/0": "abort", "abort 1000/1": "abort"}[result]
	switch {
	case outcome == "" && result != "":
		t.Errorf("%q", result)
	case told == "added" && outcome != "abort", told == "commit" && outcome != "commit", told == "abort" && outcome != "abort":
		t.Errorf("it was told %q, and ends with %q", told, result)
	}
	if s := second.state(x); outcome == "commit" && s != "CompleteCommit 1000/0" || outcome == "abort" && !strings.HasPrefix(s, "CompleteAbort") && !strings.HasPrefix(s, "Empty") {
		t.Errorf("%s after %q", s, result)
	}
	return reached
}

// begin takes the steps that a client would, until one is not answered, and returns what
// it has been told last.
func begin(l *lab, x, how string) (told string) {
	r := l.init(fromNothing(x))
	synctest.Wait()
	if len(r) == 0 {
		return "nothing"
	}
	pid, epoch := int64(1000), int16(0)
	e := l.add(x, pid, epoch, "t-0", "t-1", "u-0")
	synctest.Wait()
	if len(e) == 0 {
		return "nothing"
	}
	told = "added"
	switch how {
	case "fence":
		l.init(fromNothing(x))
	case "time out":
		time.Sleep(80 * time.Second)
	default:
		e = l.end(x, pid, epoch, how == "commit")
		synctest.Wait()
		if len(e) == 1 {
			told = how
		}
		return told
	}
	synctest.Wait()
	return told
}

func lastMarker(b *brokers, partition string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.markers[partitionsNamed(partition)[0]]
	if len(list) == 0 {
		return ""
	}
	for _, m := range list {
		if m != list[0] {
			return fmt.Sprint("both ", list)
		}
	}
	return list[len(list)-1]
}
