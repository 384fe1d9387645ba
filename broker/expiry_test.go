package broker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// When the ZooKeeper session expires, the broker registers again under a new
// epoch, is elected again, and clients go on as after a pause.
func TestSessionExpiryInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		b := h.start(t, nil)
		defer stop(t, b)
		c := h.client(t)
		defer c.Close()
		createTopic(t, c, "t", 1, nil)
		produce(t, c, "t", 1, "before")

		p := &b.parts
		oldEpoch := p.registration.Epoch()
		controllerEpoch, active := p.controller.Active()
		if !active {
			t.Fatal("the only broker is not the controller")
		}
		id, password := p.session.SessionSecret()
		if err := session.Dissolve(t.Context(), p.registration.session, id, password); err != nil {
			t.Fatal(err)
		}
		// Nothing tells when it is over but the state itself.
		for p.registration.Epoch() == oldEpoch {
			time.Sleep(10 * time.Millisecond)
		}
		produce(t, c, "t", 1, "after")
		if got, want := consume(t, h, "t", 0, 2), []string{"before", "after"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		createTopic(t, c, "u", 1, nil) // takes a controller

		if epoch, active := p.controller.Active(); !active || epoch != controllerEpoch+1 {
			t.Errorf("controller epoch %d, active %v; want %d and true", epoch, active, controllerEpoch+1)
		}
		live, _, err := p.zk.Brokers(t.Context(), nil, nil)
		if err != nil || len(live) != 1 || live[0].Epoch != p.registration.Epoch() || live[0].Epoch <= oldEpoch {
			t.Errorf("registered: %+v (%v); want this broker in an epoch above %d", live, err, oldEpoch)
		}
	})
}

// A broker that was killed leaves its session and registration behind. The next
// process closes them instead of waiting until they expire.
func TestRestartAfterKillInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		b := h.start(t, nil)
		c := h.client(t)
		createTopic(t, c, "t", 1, nil)
		produce(t, c, "t", 1, "before")
		c.Close()
		killed := h.kill(t)
		stop(t, b)

		began := time.Now()
		b = killed.start(t, nil)
		defer stop(t, b)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the restart took %v: it has waited for the old session", took)
		}
		if got := consume(t, killed, "t", 0, 1); !slices.Equal(got, []string{"before"}) {
			t.Errorf("%q after the restart", got)
		}
	})
}

// A topic whose deletion was under way when the broker died does not keep the
// next process from serving the others.
func TestRestartInTheMiddleOfADeletionInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		b := h.start(t, nil)
		c := h.client(t)
		createTopic(t, c, "doomed", 1, nil)
		createTopic(t, c, "t", 1, nil)
		c.Close()
		// From here on nobody works on deletions.
		if err := b.parts.controller.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.parts.zk.RequestTopicDeletion(t.Context(), "doomed"); err != nil {
			t.Fatal(err)
		}
		killed := h.kill(t)
		stop(t, b)

		began := time.Now()
		b = killed.start(t, nil)
		defer stop(t, b)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the restart took %v", took)
		}
		for {
			names, err := b.parts.zk.Topics(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Equal(names, []string{"t"}) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// Topics that nobody can serve, because what stands in ZooKeeper of them cannot be
// read or names no partition, do not hold up the start.
func TestRestartBesideOddTopicsInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		b := h.start(t, nil)
		for name, data := range map[string]string{"poison": "nonsense", "hollow": `{"version":1,"partitions":{}}`} {
			if _, err := b.parts.session.Do1(t.Context(), 0, session.Create(zkmeta.TopicPath(name), []byte(data), session.Persistent)); err != nil {
				t.Fatal(err)
			}
		}
		stop(t, b)
		began := time.Now()
		b = h.start(t, nil)
		defer stop(t, b)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the restart took %v", took)
		}
	})
}
