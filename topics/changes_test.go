package topics_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/zktest"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// follower starts a listener in a session of its own, whose end it survives.
type follower struct {
	*topics.Changes
	session *session.Client
	heard   []string
}

func follow(t *testing.T, l *lab) (f *follower, stop func()) {
	f = &follower{}
	var err error
	f.session, err = session.New(session.Config{Servers: []string{"zookeeper:2181"}, SessionTimeout: 10 * time.Second, Dial: l.dial})
	if err != nil {
		t.Fatal(err)
	}
	f.Changes, err = topics.NewChanges(topics.ChangesConfig{
		BrokerID: 1,
		Topic:    func(topic string, own map[string]string) { f.heard = append(f.heard, fmt.Sprint(topic, own)) },
		Broker: func() {
			f.heard = append(f.heard, fmt.Sprint("retention ", l.settings.Broker().Log.RetentionMS))
		},
	}, zkmeta.New(f.session), l.settings)
	if err != nil {
		t.Fatal(err)
	}
	f.session.OnSession(f.Changes.OnSession)
	if err := f.session.Start(l.ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(l.ctx); err != nil {
		t.Fatal(err)
	}
	return f, func() {
		if err := f.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		f.session.Stop(context.Background())
	}
}

func (f *follower) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(f.heard, want) {
		t.Errorf("heard %q, want %q", f.heard, want)
	}
	f.heard = nil
}

func set(t *testing.T, l *lab, topic, name, value string) {
	t.Helper()
	if err := l.topics.ChangeConfigs(l.ctx, topic, []topics.ConfigOp{{Name: name, Value: &value}}, false); err != nil {
		t.Fatal(err)
	}
}

func TestChangesAreHeard(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		for _, name := range []string{"a", "b"} {
			if r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: name, Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		set(t, l, "a", "retention.ms", "1000")
		set(t, l, "a", "retention.ms", "2000")
		f, stop := follow(t, l)
		defer stop()
		// What is old is replayed: each entity once, as it is now.
		f.expect(t, "retention 604800000", "retention 604800000", "amap[retention.ms:2000]")

		set(t, l, "b", "segment.ms", "5")
		f.expect(t, "bmap[segment.ms:5]")
		set(t, l, "a", "retention.ms", "3000")
		set(t, l, "b", "retention.ms", "4000")
		synctest.Wait()
		slices.Sort(f.heard)
		f.expect(t, "amap[retention.ms:3000]", "bmap[retention.ms:4000 segment.ms:5]")

		// Dynamic defaults of all brokers, then this broker's own, and what a broker
		// cannot change while it runs.
		dynamic := func(entity zkmeta.ConfigEntity, values map[string]string) {
			t.Helper()
			if err := l.zk.SetConfig(l.ctx, entity, values); err != nil {
				t.Fatal(err)
			}
			if err := l.zk.NotifyConfigChange(l.ctx, entity); err != nil {
				t.Fatal(err)
			}
		}
		dynamic(zkmeta.DefaultConfig(zkmeta.BrokerEntities), map[string]string{"log.retention.ms": "60000"})
		f.expect(t, "retention 60000")
		dynamic(zkmeta.BrokerConfig(1), map[string]string{"log.retention.ms": "70000", "broker.id": "9"})
		f.expect(t, "retention 70000")
		dynamic(zkmeta.BrokerConfig(2), map[string]string{"log.retention.ms": "80000"})
		dynamic(zkmeta.UserConfig("u"), map[string]string{"producer_byte_rate": "1"})
		f.expect(t)

		// Notifications that cannot be read harm nobody.
		zk := l.zk.Session()
		for _, data := range []string{"", "{}", `{"version":2,"entity_path":"nonsense"}`} {
			if _, err := zk.Do1(l.ctx, 0, session.Create(zkmeta.ConfigChangesPath+"/config_change_", []byte(data), session.PersistentSequential)); err != nil {
				t.Fatal(err)
			}
		}
		set(t, l, "a", "retention.ms", "5000")
		f.expect(t, "amap[retention.ms:5000]")

		// A new session loses the watch; nothing is missed.
		id, password := f.session.SessionSecret()
		cfg := session.Config{Servers: []string{"zookeeper:2181"}, SessionTimeout: 10 * time.Second, Dial: l.dial}
		if err := session.Dissolve(l.ctx, cfg, id, password); err != nil {
			t.Fatal(err)
		}
		set(t, l, "a", "retention.ms", "6000")
		f.expect(t, "amap[retention.ms:6000]")
		set(t, l, "a", "retention.ms", "7000")
		f.expect(t, "amap[retention.ms:7000]")
	})
}

func TestTopicConfigs(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		value := "5"
		create := topics.CreateRequest{Name: "a", Partitions: 1, ReplicationFactor: 1, Configs: []topics.ConfigOp{{Name: "segment.ms", Value: &value}}}
		if r := l.topics.Create(l.ctx, []topics.CreateRequest{create}, time.Minute, false)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if _, err := l.zk.Session().Do1(l.ctx, 0, session.Create("/config/topics/broken", []byte(`{"version":1,"config":{"x":1}}`), session.Persistent)); err != nil {
			t.Fatal(err)
		}
		own, err := topics.TopicConfigs(l.ctx, l.zk)
		if err != nil || len(own) != 1 || !equal(own["a"], map[string]string{"segment.ms": "5"}) {
			t.Errorf("configurations %v, error %v", own, err)
		}
	})
}

// A change whose entity could not be read when it was notified, because the session
// ended in between, is not forgotten.
func TestChangesSurviveALostRead(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		if r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "a", Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		relay := zktest.NewRelay(l.dial)
		defer relay.Close()
		direct := l.dial
		var down atomic.Bool
		l.dial = func(ctx context.Context, addr string) (net.Conn, error) {
			if down.Load() {
				return nil, errors.New("cut off")
			}
			return relay.Dial(ctx, addr)
		}
		f, stop := follow(t, l)
		defer stop()
		l.dial = direct
		f.expect(t, "retention 604800000", "retention 604800000")

		// The listener lists the notifications, reads the new one, and is cut off before
		// it reads the topic's configuration, for longer than the session lives.
		reads := 0
		relay.LoseRequest(func(op zkproto.Op) bool {
			if op != zkproto.OpGetData {
				return false
			}
			if reads++; reads == 2 {
				down.Store(true)
			}
			return reads == 2
		})
		set(t, l, "a", "retention.ms", "1000")
		time.Sleep(30 * time.Second)
		relay.LoseRequest(nil)
		down.Store(false)
		time.Sleep(5 * time.Second)
		f.expect(t, "amap[retention.ms:1000]")
	})
}
