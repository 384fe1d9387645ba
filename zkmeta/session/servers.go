package session

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// Bounds of the pause after a round through all servers without success. The first
// attempt after a lost connection comes at once: a session is soon dead, and another
// server is probably alive.
const (
	minPause = 50 * time.Millisecond
	maxPause = time.Second
)

// serverList hands out the servers of an ensemble in turn, in an order shuffled
// once, so that the clients of a failed server spread over the others. One goroutine
// owns it.
type serverList struct {
	servers []string
	at      int
	tried   int // since the last success
}

func newServerList(servers []string) *serverList {
	l := &serverList{servers: slices.Clone(servers)}
	rand.Shuffle(len(l.servers), func(i, j int) { l.servers[i], l.servers[j] = l.servers[j], l.servers[i] })
	return l
}

// next returns the server to try.
func (l *serverList) next() string {
	server := l.servers[l.at]
	l.at = (l.at + 1) % len(l.servers)
	l.tried++
	return server
}

// succeeded ends the pauses.
func (l *serverList) succeeded() { l.tried = 0 }

// pause waits before the next attempt if every server has failed since the last
// success: each round twice as long, by a random half, so that the clients of an
// ensemble that comes back do not arrive together.
func (l *serverList) pause(ctx context.Context) {
	if l.tried == 0 || l.tried%len(l.servers) != 0 {
		return
	}
	round := min(l.tried/len(l.servers)-1, 8)
	pause := min(minPause<<round, maxPause)
	pause = pause/2 + rand.N(pause/2+1)
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// attemptTimeout bounds one connect and handshake: half of the session's time for a
// whole round through the servers, so that a dead address does not cost the session.
func attemptTimeout(session time.Duration, servers int) time.Duration {
	return max(session/2/time.Duration(servers), 100*time.Millisecond)
}
