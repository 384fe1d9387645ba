package broker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// A broker whose ZooKeeper cannot be reached gives up in time, also if its
// predecessor was killed and has left a session to be closed.
func TestStartWithoutZooKeeperInBubble(t *testing.T) {
	const connect = `{"connect":"[nowhere:2181]","id":"1","password":"00"}`
	for name, predecessor := range map[string]string{"first start": "", "after a kill": connect} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost()
				if predecessor != "" {
					if err := h.disk.MkdirAll("/a", 0o755); err != nil {
						t.Fatal(err)
					}
					if err := vfs.WriteFileAtomic(h.disk, "/a/"+sessionFile, []byte(predecessor)); err != nil {
						t.Fatal(err)
					}
				}
				settings, _, err := config.Parse(map[string]string{
					"broker.id": "1", "log.dirs": "/a", "zookeeper.connect": "nowhere:2181",
					"zookeeper.session.timeout.ms": "6000", "zookeeper.connection.timeout.ms": "9000",
				})
				if err != nil {
					t.Fatal(err)
				}
				b, err := New(settings, h.env())
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				failed := make(chan error, 1)
				go func() { failed <- b.Start(t.Context()) }()
				select {
				case err = <-failed:
				case <-time.After(time.Minute):
					t.Fatal("still starting")
				}
				if err == nil || !strings.Contains(err.Error(), "nowhere:2181") {
					t.Errorf("it started, or does not say what is wrong: %v", err)
				}
				if err != nil && strings.Contains(err.Error(), "\n") {
					t.Errorf("more than one line: %v", err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %v to give up, with a limit of 9 s", took)
				}
			})
		})
	}
}
