package zkserver_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestRandomRequests sends sequences of random requests, by three clients over
// few nodes, and compares all replies and events with those of Apache
// ZooKeeper: with recorded ones, and with ZOOKEEPER_CONNECT with those that that
// server gives now, for sequences never seen before. ZOOKEEPER_RECORD=host:port
// records again.
func TestRandomRequests(t *testing.T) {
	const length = 400
	for seed := uint64(1); seed <= 3; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			file := filepath.Join("testdata", "random", fmt.Sprintf("%d.txt", seed))
			got := transcript(t, replyServer(t), seed, length)
			if os.Getenv("ZOOKEEPER_RECORD") != "" {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			compareTranscripts(t, got, string(want))
		})
	}
	if other := os.Getenv("ZOOKEEPER_CONNECT"); other != "" {
		embedded := startReplyServer(t)
		for range 5 {
			seed := uint64(time.Now().UnixNano())
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				compareTranscripts(t, transcript(t, embedded, seed, 2*length), transcript(t, replyServer(t), seed, 2*length))
			})
		}
	}
}

// compareTranscripts shows the first difference, with what led to it. Events
// that come together are compared as a set: when a session ends, ZooKeeper
// deletes its nodes in the order of a hash table. The scripts of TestReplies
// look at the order.
func compareTranscripts(t *testing.T, got, want string) {
	t.Helper()
	g, w := sortEvents(strings.Split(got, "\n")), sortEvents(strings.Split(want, "\n"))
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			t.Fatalf("line %d: got\n%s\nwant\n%s\nafter\n%s", i+1, g[i], strings.Join(w[min(i, len(w)-1):min(i+1, len(w))], "\n"),
				strings.Join(g[max(0, i-12):i], "\n"))
		}
	}
	if len(w) != len(g) {
		t.Errorf("%d lines, want %d", len(g), len(w))
	}
}

func sortEvents(lines []string) []string {
	for i := 0; i < len(lines); {
		j := i
		for j < len(lines) && strings.HasPrefix(lines[j], "  event ") {
			j++
		}
		slices.Sort(lines[i:j])
		i = j + 1
	}
	return lines
}

func transcript(t *testing.T, addr string, seed uint64, n int) string {
	t.Helper()
	p := newReplayer(t, addr)
	g := generator{rand.New(rand.NewPCG(seed, 0)), map[string]bool{}}
	var out strings.Builder
	for range n {
		line, input := g.command()
		cmd, args, err := datadriven.ParseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", line)
		if input != "" {
			fmt.Fprintf(&out, "%s\n", input)
		}
		reply := p.replay(&datadriven.TestData{Cmd: cmd, CmdArgs: args, Input: input})
		fmt.Fprintf(&out, "  %s\n", strings.ReplaceAll(strings.TrimSpace(reply), "\n", "\n  "))
	}
	return out.String()
}

type generator struct {
	rng       *rand.Rand
	connected map[string]bool
}

func (g *generator) pick(from ...string) string { return from[g.rng.IntN(len(from))] }

func (g *generator) path() string {
	if g.rng.IntN(40) == 0 {
		return g.pick("(!nolead)", "(/a/)", "(/a//b)", "(/a\\x01)")
	}
	return g.pick("/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/1", "/a/x/2", "/b/x/1", "()")
}

func (g *generator) version() string { return g.pick("-1", "-1", "-1", "0", "0", "1", "2") }

func (g *generator) acl() string {
	switch g.rng.IntN(12) {
	case 0:
		return " acl=(auth||31)"
	case 1:
		return " acl=(world|anyone|" + g.pick("1", "2", "15", "30") + ", digest|owner:Vj++wdU3sMAbt+g9TyKj1BT+usI=|31)"
	case 2:
		return " acl=" + g.pick("none", "(what|ever|31)", "(world|nobody|31)")
	}
	return ""
}

// write makes an operation that may stand in a multi.
func (g *generator) write() string {
	switch g.rng.IntN(10) {
	case 0, 1, 2, 3:
		mode := g.pick("0", "0", "0", "1", "2", "3")
		name := g.path()
		switch {
		case mode > "1" && name == "()":
			name = "/" // a number alone
		case mode > "1" && name[0] != '(':
			name += "-"
		}
		op := g.pick("create", "create2")
		if g.rng.IntN(12) == 0 {
			op, mode = "createContainer", "4"
		}
		return fmt.Sprintf("%s path=%s mode=%s data=%s%s", op, name, mode, g.pick("null", "()", "x", "hello"), g.acl())
	case 4, 5, 6:
		return fmt.Sprintf("delete path=%s version=%s", g.path(), g.version())
	}
	return fmt.Sprintf("setData path=%s data=%s version=%s", g.path(), g.pick("null", "()", "x", "hello"), g.version())
}

// command makes a line for the replayer, and for a multi its operations.
func (g *generator) command() (line, input string) {
	client := g.pick("a", "b", "c")
	in := func(s string) string {
		op, args, _ := strings.Cut(s, " ")
		return op + " c=" + client + " " + args
	}
	if !g.connected[client] {
		g.connected[client] = true
		return "connect c=" + client, ""
	}
	switch n := g.rng.IntN(100); {
	case n < 30:
		return in(g.write()), ""
	case n < 45:
		var ops []string
		for range 1 + g.rng.IntN(5) {
			op := g.write()
			if g.rng.IntN(4) == 0 {
				op = fmt.Sprintf("check path=%s version=%s", g.path(), g.version())
			}
			ops = append(ops, op)
		}
		return in("multi"), strings.Join(ops, "\n")
	case n < 70:
		op := g.pick("getData", "exists", "getChildren", "getChildren2")
		return in(fmt.Sprintf("%s path=%s watch=%s", op, g.path(), g.pick("true", "false"))), ""
	case n < 80:
		return in("events"), ""
	case n < 83:
		return in(fmt.Sprintf("setACL path=%s version=%s%s", g.path(), g.version(), g.acl())), ""
	case n < 86:
		return in("getACL path=" + g.path()), ""
	case n < 88:
		return in("getAllChildrenNumber path=" + g.path()), ""
	case n < 90:
		return in("getEphemerals path=()"), ""
	case n < 92:
		return in("multiRead"), fmt.Sprintf("getData path=%s\ngetChildren path=%s", g.path(), g.path())
	case n < 94:
		return in("auth scheme=digest auth=" + g.pick("owner:secret", "u:p")), ""
	case n < 96:
		return in(fmt.Sprintf("removeWatches path=%s type=%s", g.path(), g.pick("1", "2", "3"))), ""
	case n < 98:
		return in("whoAmI"), ""
	}
	g.connected[client] = false
	return in("closeSession") + " then=closed", ""
}
