package zkserver_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// TestReplies sends the requests in testdata/replies, byte by byte, to the
// embedded server, and compares every field of what comes back, and its order,
// with what Apache ZooKeeper 3.8.4 answered. The replies in the files were
// recorded from that server:
//
//	ZOOKEEPER_RECORD=host:port go test -run TestReplies ./zkmeta/zkserver
//
// With ZOOKEEPER_CONNECT the requests go to that server instead.
//
// What cannot be equal is named instead of printed: transaction ids in the
// order in which they turn up (z1, z2 ...; a transaction id that goes back is
// an error), times as "now", session ids by the client that owns them. The
// header's zxid is looked at after successful writes, where it is the write's
// own (ZooKeeper counts failed ones, too; this server does not). All paths are below a node of the test, but where they begin with "!".
func TestReplies(t *testing.T) {
	addr := replyServer(t)
	if os.Getenv("ZOOKEEPER_RECORD") != "" {
		if err := flag.Set("rewrite", "true"); err != nil {
			t.Fatal(err)
		}
	}
	datadriven.Walk(t, "testdata/replies", func(t *testing.T, path string) {
		p := newReplayer(t, addr)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return p.replay(d)
		})
	})
}

// replyServer returns the server whose replies are looked at.
func replyServer(t *testing.T) string {
	for _, env := range []string{"ZOOKEEPER_RECORD", "ZOOKEEPER_CONNECT"} {
		if addr := os.Getenv(env); addr != "" {
			addr, _, _ = strings.Cut(addr, "/")
			addr, _, _ = strings.Cut(addr, ",")
			return addr
		}
	}
	return startReplyServer(t)
}

// startReplyServer runs the embedded server with the session bounds of the one
// that was recorded.
func startReplyServer(t *testing.T) string {
	return startServer(t, zkserver.Config{TickTime: 500 * time.Millisecond, MinSessionTimeout: time.Second, MaxSessionTimeout: time.Minute})
}

func newReplayer(t *testing.T, addr string) *replayer {
	p := &replayer{t: t, addr: addr, clients: map[string]*rawClient{}, zxids: map[int64]string{}, base: fmt.Sprintf("/replies-%d", time.Now().UnixNano())}
	admin := rawDial(t, addr)
	if _, err := admin.connect(zkproto.ConnectRequest{TimeoutMS: 60000}); err != nil {
		t.Fatal(err)
	}
	p.highest = admin.mustDo(t, zkproto.OpCreate, createRequest(p.base, nil, 0)).header.Zxid
	p.zxids[p.highest] = "base"
	t.Cleanup(func() {
		for _, user := range []string{"owner:secret", "u:p"} {
			admin.mustDo(t, zkproto.OpAuth, &zkproto.AuthRequest{Scheme: "digest", Auth: []byte(user)})
		}
		for _, c := range p.clients {
			c.nc.Close()
		}
		removeRaw(t, admin, p.base)
		admin.mustDo(t, zkproto.OpCloseSession, nil)
	})
	return p
}

// replay sends one command and returns what came back.
func (p *replayer) replay(d *datadriven.TestData) string {
	p.out.Reset()
	p.run(d)
	if p.out.Len() == 0 {
		return "ok\n"
	}
	return p.out.String()
}

func removeRaw(t *testing.T, c *rawClient, path string) {
	m, err := c.do(zkproto.OpGetChildren, &zkproto.PathWatchRequest{Path: path}, nil)
	if err != nil {
		return
	}
	for _, name := range m.body.(*zkproto.GetChildrenResponse).Children {
		removeRaw(t, c, path+"/"+name)
	}
	if _, err := c.do(zkproto.OpDelete, &zkproto.DeleteRequest{Path: path, Version: -1}, nil); err != nil {
		t.Logf("%s stays behind: %v", path, err)
	}
}

type replayer struct {
	t       *testing.T
	addr    string
	base    string
	clients map[string]*rawClient
	zxids   map[int64]string
	highest int64
	out     strings.Builder
}

func (p *replayer) printf(format string, args ...any) { fmt.Fprintf(&p.out, format, args...) }

func (p *replayer) path(s string) string {
	if rest, absolute := strings.CutPrefix(s, "!"); absolute {
		s, _ = strconv.Unquote(`"` + rest + `"`)
		return s
	}
	s, _ = strconv.Unquote(`"` + s + `"`)
	return p.base + s
}

func (p *replayer) show(path string) string {
	if rest, ok := strings.CutPrefix(path, p.base); ok {
		return fmt.Sprintf("%q", rest)
	}
	return fmt.Sprintf("!%q", path)
}

func (p *replayer) zxid(z int64) string {
	if z <= 0 {
		return strconv.FormatInt(z, 10)
	}
	if p.zxids[z] == "" {
		p.zxids[z] = fmt.Sprintf("z%d", len(p.zxids))
		if z < p.highest {
			p.zxids[z] += "(goes back)"
		}
		p.highest = z
	}
	return p.zxids[z]
}

func (p *replayer) time(ms int64) string {
	if age := time.Since(time.UnixMilli(ms)); age.Abs() < time.Minute {
		return "now"
	}
	return strconv.FormatInt(ms, 10)
}

func (p *replayer) sessionName(id int64) string {
	if id == 0 {
		return "0"
	}
	for _, name := range slices.Sorted(mapsKeys(p.clients)) {
		if p.clients[name].session.SessionID == id {
			return name
		}
	}
	return "?"
}

func mapsKeys[M ~map[K]V, K comparable, V any](m M) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (p *replayer) stat(s *zkproto.Stat) string {
	return fmt.Sprintf("czxid=%s mzxid=%s pzxid=%s ctime=%s mtime=%s version=%d cversion=%d aversion=%d owner=%s length=%d children=%d",
		p.zxid(s.Czxid), p.zxid(s.Mzxid), p.zxid(s.Pzxid), p.time(s.Ctime), p.time(s.Mtime), s.Version, s.Cversion, s.Aversion,
		p.sessionName(s.EphemeralOwner), s.DataLength, s.NumChildren)
}

func showData(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) > 100:
		return fmt.Sprintf("%d bytes", len(b))
	}
	return fmt.Sprintf("%q", b)
}

func (p *replayer) showEvent(m message) {
	p.printf("event %v %s state=%d zxid=%d\n", m.event.Type, p.show(m.event.Path), m.event.State, m.header.Zxid)
}

func (p *replayer) showBody(body zkproto.Record) {
	names := func(s []string) string {
		slices.Sort(s)
		return fmt.Sprintf("%q", s)
	}
	switch b := body.(type) {
	case nil, *zkproto.Empty:
		p.printf("ok\n")
	case *zkproto.PathResponse:
		p.printf("%s\n", p.show(b.Path))
	case *zkproto.Create2Response:
		p.printf("%s %s\n", p.show(b.Path), p.stat(&b.Stat))
	case *zkproto.StatResponse:
		p.printf("%s\n", p.stat(&b.Stat))
	case *zkproto.GetDataResponse:
		p.printf("%s %s\n", showData(b.Data), p.stat(&b.Stat))
	case *zkproto.GetChildrenResponse:
		p.printf("%s\n", names(b.Children))
	case *zkproto.GetChildren2Response:
		p.printf("%s %s\n", names(b.Children), p.stat(&b.Stat))
	case *zkproto.GetACLResponse:
		// Scheme auth stands for a set of identities.
		slices.SortStableFunc(b.ACL, func(x, y zkproto.ACL) int { return strings.Compare(x.Scheme+x.ID, y.Scheme+y.ID) })
		p.printf("%+v %s\n", b.ACL, p.stat(&b.Stat))
	case *zkproto.GetEphemeralsResponse:
		for i := range b.Ephemerals {
			b.Ephemerals[i] = strings.TrimPrefix(b.Ephemerals[i], p.base)
		}
		p.printf("%s\n", names(b.Ephemerals))
	case *zkproto.GetAllChildrenNumberResponse:
		p.printf("%d\n", b.Total)
	case *zkproto.WhoAmIResponse:
		slices.SortFunc(b.ClientInfo, func(x, y zkproto.ClientInfo) int { return strings.Compare(x.AuthScheme+x.User, y.AuthScheme+y.User) })
		p.printf("%+v\n", b.ClientInfo)
	case *zkproto.ErrorResponse:
		p.printf("error %d\n", b.Err)
	case *zkproto.MultiResponse:
		p.printf("%d results\n", len(b.Results))
		for _, r := range b.Results {
			p.printf("  %v: ", r.Op)
			if r.Op == zkproto.OpError {
				p.printf("%d\n", r.Err)
			} else {
				p.showBody(r.Response)
			}
		}
	default:
		p.printf("%+v\n", b)
	}
}

var opsByName = map[string]zkproto.Op{}

func init() {
	for op := zkproto.Op(-11); op < 110; op++ {
		opsByName[op.String()] = op
	}
}

func isWrite(op zkproto.Op) bool {
	switch op {
	case zkproto.OpCreate, zkproto.OpCreate2, zkproto.OpCreateContainer, zkproto.OpDelete, zkproto.OpSetData, zkproto.OpSetACL, zkproto.OpMulti:
		return true
	}
	return false
}

func (p *replayer) run(d *datadriven.TestData) {
	args := map[string]string{}
	for _, a := range d.CmdArgs {
		args[a.Key] = strings.Join(a.Vals, ",")
	}
	name := args["c"]
	if d.Cmd == "connect" {
		p.connect(name, args)
		return
	}
	c := p.clients[name]
	if c == nil {
		d.Fatalf(p.t, "client %q is not connected", name)
	}
	switch d.Cmd {
	case "drop":
		c.nc.Close()
		return
	case "events":
		if _, err := c.do(zkproto.OpSync, &zkproto.PathRequest{Path: "/"}, p.showEvent); err != nil {
			p.printf("sync: %v\n", err)
		}
		return
	case "raw":
		b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "").Replace(d.Input))
		if err != nil {
			d.Fatalf(p.t, "%v", err)
		}
		if _, err := c.nc.Write(b); err != nil {
			p.printf("write: %v\n", err)
			return
		}
		m, err := c.receive()
		p.finish(m, err)
		if m.header.Err != 0 && args["then"] == "closed" {
			_, err = c.receive()
			p.printf("then closed=%v\n", closed(err))
		}
		return
	}
	op, ok := opsByName[d.Cmd]
	if !ok {
		d.Fatalf(p.t, "unknown command")
	}
	var body zkproto.Record
	switch op {
	case zkproto.OpMulti, zkproto.OpMultiRead:
		m := &zkproto.MultiRequest{}
		for line := range strings.Lines(d.Input) {
			cmd, args, err := datadriven.ParseLine(strings.TrimSpace(line))
			if err != nil {
				d.Fatalf(p.t, "%v", err)
			}
			values := map[string]string{}
			for _, a := range args {
				values[a.Key] = strings.Join(a.Vals, ",")
			}
			m.Ops = append(m.Ops, zkproto.Operation{Op: opsByName[cmd], Request: p.request(opsByName[cmd], values)})
		}
		body = m
	default:
		body = p.request(op, args)
	}
	m, err := c.do(op, body, p.showEvent)
	p.finish(m, err)
	if args["then"] == "closed" {
		_, err := c.receive()
		p.printf("then closed=%v\n", closed(err))
	}
}

func (p *replayer) finish(m message, err error) {
	switch {
	case m.header.Err != 0:
		p.printf("error %d (%v)\n", m.header.Err, m.header.Err)
	case closed(err):
		p.printf("closed\n")
	case err != nil:
		p.printf("%v\n", err)
	default:
		if r, ok := m.body.(*zkproto.MultiResponse); isWrite(m.op) && (!ok || !slices.ContainsFunc(r.Results, failed)) {
			p.printf("zxid=%s ", p.zxid(m.header.Zxid))
		}
		p.showBody(m.body)
	}
}

func failed(r zkproto.Result) bool { return r.Op == zkproto.OpError }

func (p *replayer) connect(name string, args map[string]string) {
	c := rawDial(p.t, p.addr)
	if err := c.nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	r := zkproto.ConnectRequest{TimeoutMS: int32(number(args, "timeout", 10000))}
	if args["readonly"] != "" {
		r.HasReadOnly, r.ReadOnly = true, args["readonly"] == "true"
	}
	if of := args["session"]; of != "" {
		r.SessionID, r.Password = p.clients[of].session.SessionID, slices.Clone(p.clients[of].session.Password)
		if args["password"] == "wrong" {
			r.Password[0] ^= 1
		}
	}
	if args["id"] != "" {
		r.SessionID = number(args, "id", 0)
	}
	if args["ahead"] != "" {
		r.LastZxidSeen = 1 << 60
	}
	resp, err := c.connect(r)
	if err != nil {
		p.printf("closed=%v\n", closed(err))
		return
	}
	zero := !slices.ContainsFunc(resp.Password, func(b byte) bool { return b != 0 })
	p.printf("protocol=%d timeout=%d session=%v password=%d zero=%v readonly=%v,%v\n", resp.ProtocolVersion, resp.TimeoutMS, resp.SessionID != 0,
		len(resp.Password), zero, resp.HasReadOnly, resp.ReadOnly)
	if of := args["session"]; of != "" && resp.SessionID != 0 {
		p.printf("same session=%v\n", resp.SessionID == r.SessionID)
	}
	if resp.SessionID == 0 {
		_, err := c.receive()
		p.printf("then closed=%v\n", closed(err))
		return
	}
	p.clients[name] = c
}

func number(args map[string]string, key string, def int64) int64 {
	if v, err := strconv.ParseInt(args[key], 0, 64); err == nil {
		return v
	}
	return def
}

// request builds a request's body from its arguments.
func (p *replayer) request(op zkproto.Op, args map[string]string) zkproto.Record {
	path := p.path(args["path"])
	version := int32(number(args, "version", -1))
	data := []byte(args["data"])
	if args["data"] == "null" {
		data = nil
	}
	if n := number(args, "size", 0); n > 0 {
		data = make([]byte, n)
	}
	watch := args["watch"] == "true"
	paths := func(key string) []string {
		var out []string
		for s := range strings.SplitSeq(args[key], ",") {
			if s != "" {
				out = append(out, p.path(s))
			}
		}
		return out
	}
	switch r := zkproto.NewRequest(op).(type) {
	case *zkproto.CreateRequest:
		r.Path, r.Data, r.Mode, r.ACL = path, data, zkproto.CreateMode(number(args, "mode", 0)), parseACL(args)
		return r
	case *zkproto.CreateTTLRequest:
		r.Path, r.Data, r.Mode, r.ACL, r.TTL = path, data, zkproto.CreateMode(number(args, "mode", 5)), parseACL(args), number(args, "ttl", 1000)
		return r
	case *zkproto.DeleteRequest:
		r.Path, r.Version = path, version
		return r
	case *zkproto.SetDataRequest:
		r.Path, r.Data, r.Version = path, data, version
		return r
	case *zkproto.SetACLRequest:
		r.Path, r.ACL, r.Version = path, parseACL(args), version
		return r
	case *zkproto.PathWatchRequest:
		r.Path, r.Watch = path, watch
		return r
	case *zkproto.PathRequest:
		r.Path = path
		return r
	case *zkproto.AuthRequest:
		r.Scheme, r.Auth = args["scheme"], []byte(args["auth"])
		return r
	case *zkproto.SetWatchesRequest:
		r.Data, r.Exist, r.Child, r.RelativeZxid = paths("data"), paths("exist"), paths("child"), p.relative(args)
		return r
	case *zkproto.SetWatches2Request:
		r.Data, r.Exist, r.Child, r.RelativeZxid = paths("data"), paths("exist"), paths("child"), p.relative(args)
		r.Persistent, r.PersistentRecursive = paths("persistent"), paths("recursive")
		return r
	case *zkproto.AddWatchRequest:
		r.Path, r.Mode = path, zkproto.AddWatchMode(number(args, "mode", 0))
		return r
	case *zkproto.WatchesRequest:
		r.Path, r.Type = path, zkproto.WatcherType(number(args, "type", 3))
		return r
	default:
		return r
	}
}

// relative finds the transaction id that has been named zN.
func (p *replayer) relative(args map[string]string) int64 {
	for z, name := range p.zxids {
		if name == args["since"] {
			return z
		}
	}
	return 0
}

// parseACL reads scheme|id|perms, several separated by commas.
func parseACL(args map[string]string) []zkproto.ACL {
	switch args["acl"] {
	case "":
		return openACL
	case "none":
		return nil
	}
	var out []zkproto.ACL
	for s := range strings.SplitSeq(args["acl"], ",") {
		part := strings.Split(s, "|")
		perms, _ := strconv.Atoi(part[2])
		out = append(out, zkproto.ACL{Scheme: part[0], ID: part[1], Perms: int32(perms)})
	}
	return out
}

func TestRepliesAreThere(t *testing.T) {
	files, err := filepath.Glob("testdata/replies/*.txt")
	if err != nil || len(files) < 6 {
		t.Errorf("recorded replies: %v %v", files, err)
	}
}
