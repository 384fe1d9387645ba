package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// controllerWatch sees in ZooKeeper who is the controller, and when it no longer is.
type controllerWatch struct {
	id   int // of the broker that is
	conn *zk.Conn
	gone <-chan zk.Event
}

// watchController watches the controller of the cluster at a connect string.
func watchController(connect string) (*controllerWatch, error) {
	server, path, _ := strings.Cut(connect, "/")
	conn, _, err := zk.Connect([]string{server}, 60*time.Second, zk.WithLogger(quietZooKeeper{}))
	if err != nil {
		return nil, err
	}
	data, _, gone, err := conn.GetW("/" + path + "/controller")
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("/%s/controller: %w", path, err)
	}
	var controller struct{ BrokerID int }
	if err := json.Unmarshal(data, &controller); err != nil {
		conn.Close()
		return nil, fmt.Errorf("/%s/controller is %q: %w", path, data, err)
	}
	return &controllerWatch{id: controller.BrokerID, conn: conn, gone: gone}, nil
}

// untilGone returns when ZooKeeper told that the znode was deleted.
func (w *controllerWatch) untilGone(limit time.Duration) (time.Time, error) {
	select {
	case event := <-w.gone:
		now := time.Now()
		if event.Type != zk.EventNodeDeleted {
			return now, fmt.Errorf("the watch of the controller ended with %v", event)
		}
		return now, nil
	case <-time.After(limit):
		return time.Time{}, fmt.Errorf("the controller that was killed still has its znode after %v", limit)
	}
}

func (w *controllerWatch) close() { w.conn.Close() }
