package loglimit

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limit
		flood := func() (said int) {
			for range 10 * Lines {
				if l.Say() {
					said++
				}
			}
			return said
		}
		if said, unsaid := flood(), l.Unsaid(); said != Lines || unsaid != 9*Lines {
			t.Errorf("%d said, %d unsaid", said, unsaid)
		}
		time.Sleep(Window - 1)
		if l.Say() || l.Unsaid() != 1 || l.Unsaid() != 0 {
			t.Error("the window is not over")
		}
		time.Sleep(1)
		if said := flood(); said != Lines {
			t.Errorf("%d said in the next window", said)
		}
	})
}
