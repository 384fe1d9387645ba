package hostile

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Attackers run in processes of their own, which get what the broker and its other
// clients leave of the processors. On a machine of their own they would not take any
// from the broker either: what the neighbour then waits for is the broker.

// attacks are what an attacker can be told to do. Each prepares itself and returns
// what is then done to the broker.
var attacks = map[string]func(v *target) func(){
	"flood from one address": floodFromOneAddress,
	"flood of connections":   floodOfConnections,
	"unread fetches":         unreadFetches,
	"zookeeper's port":       zookeeperPort,
	"large frames":           largeFramesOneByOne,
	"many large frames":      manyLargeFrames,
	"announced frames":       announcedAndDripped,
	"frames behind fetches":  framesBehindFetches,
	"bombs":                  manyBombs,
	"unread replies":         unreadReplies,
	"half requests":          halfRequests,
	"random bytes":           randomBytes,
}

// The environment in which this program is an attacker: the name of the attack, and
// its target.
const (
	attackVariable = "HOSTILE_ATTACK"
	targetVariable = "HOSTILE_TARGET"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(attackVariable); name != "" {
		beAttacker(name)
		return
	}
	os.Exit(m.Run())
}

// beAttacker says when it is ready and when it is done; a line tells it to begin, and
// the end of its input to end.
func beAttacker(name string) {
	v := &target{t: attacker{}}
	if _, err := fmt.Sscan(os.Getenv(targetVariable), &v.addr, &v.pid, &v.quiet); err != nil {
		v.t.Fatal(err)
	}
	attack := attacks[name](v)
	in := bufio.NewReader(os.Stdin)
	fmt.Println(ready)
	in.ReadString('\n')
	attack()
	fmt.Println(done)
	io.Copy(io.Discard, in)
}

// What an attacker says, beside what is for the log.
const (
	ready  = "ready"
	done   = "done"
	failed = "FAILED: "
)

// attacker is what an attack in its own process has instead of a test.
type attacker struct{}

func (attacker) Helper()                             {}
func (attacker) Logf(format string, args ...any)     { fmt.Printf(format+"\n", args...) }
func (a attacker) Errorf(format string, args ...any) { a.Logf(failed+format, args...) }
func (a attacker) Fatalf(format string, args ...any) { a.Errorf(format, args...); os.Exit(1) }
func (a attacker) Fatal(args ...any)                 { a.Fatalf("%s", fmt.Sprint(args...)) }

// while runs an attack and fails if the neighbour notices: if it has to wait longer
// than it does in quiet and than a machine that others use explains. What the attacker
// has opened stays open until the test ends, or end is called.
func (v *victim) while(name string) (end func()) {
	v.t.Helper()
	// SCHED_IDLE: runs when nobody else wants to.
	cmd := exec.Command("chrt", "--idle", "0", os.Args[0])
	cmd.Env = append(os.Environ(), attackVariable+"="+name, fmt.Sprintf("%s=%s %d %d", targetVariable, v.addr, v.pid, v.quiet))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		in.Close()
		cmd.Wait()
	})
	v.t.Cleanup(end)
	said := bufio.NewScanner(out)
	until := func(want string) {
		v.t.Helper()
		for said.Scan() {
			line := said.Text()
			if line == want {
				return
			}
			if what, is := strings.CutPrefix(line, failed); is {
				v.t.Error(what)
				continue
			}
			v.t.Log(line)
		}
		v.t.Fatalf("the attacker ended before it was %s", want)
	}
	until(ready)
	quiet := v.neighbour()
	time.Sleep(time.Second) // a baseline takes a while
	before := quiet.end()
	n := v.neighbour()
	begin := time.Now()
	fmt.Fprintln(in)
	until(done)
	took := time.Since(begin)
	during := n.end()
	v.t.Logf("produce and fetch in quiet: %v; in %v of the attack: %v", before, took.Round(time.Millisecond), during)
	if during.half > before.half+noticedHalf || during.most > before.most+noticed || during.slowest > noticedOnce {
		v.t.Errorf("the neighbour waited: %v; in quiet %v", during, before)
	}
	return end
}
