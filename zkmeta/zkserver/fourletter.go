package zkserver

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// ProtocolVersion is the release of ZooKeeper whose behaviour the server
// follows, and which its four-letter words tell.
const ProtocolVersion = "3.8.4"

// versionLine has the form that clients parse. There is no build date to tell.
const versionLine = ProtocolVersion + "-gracchus-embedded, built on 1970-01-01 00:00 UTC"

// words are the four-letter words of ZooKeeper 3.8; true are those served. The
// others are answered as ZooKeeper answers one that is not in its white list.
var words = map[string]bool{
	"ruok": true, "srvr": true, "stat": true, "mntr": true, "isro": true, "envi": true,
	"conf": false, "cons": false, "crst": false, "dirs": false, "dump": false, "gtmk": false,
	"hash": false, "srst": false, "stmk": false, "wchc": false, "wchp": false, "wchs": false,
}

func knownWord(w string) bool {
	_, ok := words[w]
	return ok
}

// stats is what the words tell, kept by the loop.
type stats struct {
	received, sent int64
	commits        int64
	min, max, sum  time.Duration // from a request's arrival to its being served
}

func (s *stats) note(d time.Duration) {
	if s.received == 0 || d < s.min {
		s.min = d
	}
	s.received++
	s.max = max(s.max, d)
	s.sum += d
}

func (s *stats) avg() float64 {
	if s.received == 0 {
		return 0
	}
	return float64(s.sum.Microseconds()) / 1000 / float64(s.received)
}

func (l *loop) answerWord(w string) string {
	switch w {
	case "ruok":
		return "imok"
	case "isro":
		return "rw"
	case "envi":
		// Where kazoo looks for the version. There is no Java to tell of.
		return fmt.Sprintf("Environment:\nzookeeper.version=%s\nos.name=%s\nos.arch=%s\n", versionLine, runtime.GOOS, runtime.GOARCH)
	case "srvr", "stat":
		return l.answerServer(w == "stat")
	case "mntr":
		return l.answerMonitor()
	}
	return w + " is not executed because it is not in the whitelist.\n"
}

// alive returns the sessions that are connected.
func (l *loop) alive() []*session {
	var out []*session
	for _, s := range l.sessions {
		if s.conn != nil {
			out = append(out, s)
		}
	}
	return out
}

func (l *loop) outstanding() int {
	n := 0
	for _, s := range l.alive() {
		s.conn.mu.Lock()
		n += len(s.conn.queue)
		s.conn.mu.Unlock()
	}
	return n
}

func (l *loop) answerServer(clients bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Zookeeper version: %s\n", versionLine)
	if clients {
		b.WriteString("Clients:\n")
		for _, s := range l.alive() {
			c := s.conn
			c.mu.Lock()
			queued := len(c.queue)
			c.mu.Unlock()
			fmt.Fprintf(&b, " /%s[1](queued=%d,recved=%d,sent=%d)\n", c.nc.RemoteAddr(), queued, c.received.Load(), c.sent.Load())
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "Latency min/avg/max: %d/%.4f/%d\n", l.stats.min.Milliseconds(), l.stats.avg(), l.stats.max.Milliseconds())
	fmt.Fprintf(&b, "Received: %d\nSent: %d\nConnections: %d\nOutstanding: %d\n", l.stats.received, l.stats.sent, len(l.alive()), l.outstanding())
	fmt.Fprintf(&b, "Zxid: 0x%x\nMode: standalone\nNode count: %d\n", l.zxid, len(l.tree.nodes))
	return b.String()
}

func (l *loop) answerMonitor() string {
	ephemerals := 0
	for _, paths := range l.tree.ephemerals {
		ephemerals += len(paths)
	}
	var b strings.Builder
	for _, kv := range []struct {
		key   string
		value any
	}{
		{"version", versionLine},
		{"server_state", "standalone"},
		{"avg_latency", l.stats.avg()},
		{"min_latency", l.stats.min.Milliseconds()},
		{"max_latency", l.stats.max.Milliseconds()},
		{"packets_received", l.stats.received},
		{"packets_sent", l.stats.sent},
		{"num_alive_connections", len(l.alive())},
		{"outstanding_requests", l.outstanding()},
		{"uptime", l.clock.now().Milliseconds()},
		{"znode_count", len(l.tree.nodes)},
		{"watch_count", l.watches.total},
		{"ephemerals_count", ephemerals},
		{"approximate_data_size", l.tree.dataBytes},
		{"global_sessions", len(l.sessions)},
		{"commit_count", l.stats.commits},
	} {
		fmt.Fprintf(&b, "zk_%s\t%v\n", kv.key, kv.value)
	}
	return b.String()
}
