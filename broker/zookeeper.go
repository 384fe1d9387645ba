package broker

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

const (
	// embeddedFile holds the tree of the embedded ZooKeeper, in the first log
	// directory. It is a plain file because Kafka refuses to start on a
	// directory that it does not know.
	embeddedFile = "gracchus-zookeeper.db"
	// sessionFile holds the id and password of the current ZooKeeper session.
	sessionFile = "gracchus-zookeeper-session"
	// embeddedAddress is where the embedded ZooKeeper is reached inside the
	// process.
	embeddedAddress = "embedded"
	// embeddedInFlight is how many groups of requests may wait for the embedded
	// ZooKeeper: those that wait together share one write to its file.
	embeddedInFlight = 100
)

// embedded is the ZooKeeper that a broker runs when none is configured.
type embedded struct {
	server *zkserver.Server
	store  zkserver.Store
	inside *inproc.Listener

	serving sync.WaitGroup
}

// startEmbedded runs the embedded ZooKeeper on the file in dir, and on a TCP
// address too if one is configured. failed is told if its store fails.
func startEmbedded(ctx context.Context, env Env, cfg config.ZooKeeper, dir string, failed func(error)) (e *embedded, err error) {
	path := filepath.Join(dir, embeddedFile)
	store, err := env.OpenZooKeeperStore(path)
	if err != nil {
		return nil, err
	}
	e = &embedded{store: store, inside: inproc.Listen(embeddedAddress)}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.stop(context.WithoutCancel(ctx)))
		}
	}()
	if e.server, err = zkserver.New(zkserver.Config{
		MinSessionTimeout: time.Second,
		MaxSessionTimeout: max(cfg.SessionTimeout, time.Minute),
		Logger:            env.Logger.With("component", "zookeeper"),
	}, store); err != nil {
		return e, err
	}
	if err = e.server.Start(ctx); err != nil {
		return e, err
	}
	e.serve(e.inside, e.server.ServeOwner, env.Logger)
	e.serving.Go(func() {
		<-e.server.Done()
		if err := e.server.Err(); err != nil && !errors.Is(err, zkserver.ErrStopped) {
			failed(fmt.Errorf("the embedded ZooKeeper cannot write %s: %w", path, err))
		}
	})
	if cfg.EmbeddedListen == "" {
		return e, nil
	}
	open, err := env.Listen(ctx, cfg.EmbeddedListen)
	if err != nil {
		return e, fmt.Errorf("gracchus.zookeeper.listen %q cannot be opened: %w", cfg.EmbeddedListen, err)
	}
	env.Logger.Info("the embedded ZooKeeper is open to others", "zookeeper", open.Addr().String())
	e.serve(open, e.server.Serve, env.Logger)
	return e, nil
}

// serve answers clients of one listener until the server is stopped.
func (e *embedded) serve(l net.Listener, serve func(net.Listener) error, logger *slog.Logger) {
	e.serving.Go(func() {
		if err := serve(l); !errors.Is(err, zkserver.ErrStopped) {
			logger.Error("the embedded ZooKeeper no longer listens", "address", l.Addr().String(), "error", err)
		}
	})
}

func (e *embedded) stop(ctx context.Context) error {
	var err error
	if e.server != nil {
		err = e.server.Stop(ctx)
	}
	e.inside.Close()
	e.serving.Wait()
	return errors.Join(err, e.store.Close())
}

// sessionConfig says how to reach ZooKeeper, the embedded one or another.
func sessionConfig(env Env, cfg config.ZooKeeper, e *embedded) session.Config {
	c := session.Config{
		Servers:        cfg.Servers,
		Chroot:         cfg.Chroot,
		SessionTimeout: cfg.SessionTimeout,
		ConnectTimeout: cfg.ConnectTimeout,
		MaxInFlight:    cfg.MaxInFlight,
		Dial:           env.Dial,
		Logger:         env.Logger.With("component", "zookeeper session"),
	}
	if e != nil {
		c.Servers = []string{net.JoinHostPort(embeddedAddress, session.DefaultPort)}
		c.MaxInFlight = max(c.MaxInFlight, embeddedInFlight)
		c.Dial = func(ctx context.Context, _ string) (net.Conn, error) { return e.inside.Dial(ctx) }
	}
	return c
}

// savedSession is the content of sessionFile. The connect string tells apart a
// session of another ZooKeeper that this directory belonged to before.
type savedSession struct {
	Connect  string `json:"connect"`
	ID       string `json:"id"`
	Password string `json:"password"`
}

// connectString names the ZooKeeper that a session belongs to.
func connectString(c session.Config) string {
	return fmt.Sprint(c.Servers, c.Chroot)
}

// saveSession keeps the session's secret for the next process, in case this one
// dies without closing it.
func saveSession(store *storage.Store, c session.Config, id session.ID, password []byte) error {
	data, err := json.Marshal(savedSession{
		Connect:  connectString(c),
		ID:       strconv.FormatInt(int64(id), 16),
		Password: hex.EncodeToString(password),
	})
	if err != nil {
		return err
	}
	return store.SaveState(sessionFile, data)
}

// dissolvePredecessor ends the session of a process that died in these
// directories, so that its registration does not stand in the way until it
// expires. Whoever holds the directories' locks knows that the process is gone.
// That it fails is no error: the registration then waits for the expiry. It
// takes no longer than a connect may.
func dissolvePredecessor(ctx context.Context, store *storage.Store, c session.Config, logger *slog.Logger) {
	data, err := store.LoadState(sessionFile)
	if err != nil || data == nil {
		return
	}
	var saved savedSession
	if json.Unmarshal(data, &saved) != nil || saved.Connect != connectString(c) {
		return
	}
	id, err := strconv.ParseInt(saved.ID, 16, 64)
	if err != nil {
		return
	}
	password, err := hex.DecodeString(saved.Password)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	if err := session.Dissolve(ctx, c, session.ID(id), password); err != nil {
		logger.Warn("the ZooKeeper session of the previous process could not be closed; it ends by itself", "session", session.ID(id).String(), "error", err)
	}
}
