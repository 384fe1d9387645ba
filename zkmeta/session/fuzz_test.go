package session

import (
	"errors"
	"slices"
	"testing"

	"github.com/gracchus-mq/gracchus/internal/traffic"
	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// multiAnsweredBy makes a multi that a reply could be to.
func multiAnsweredBy(t testing.TB, reply []byte) Op {
	t.Helper()
	var multi zkproto.MultiResponse
	if err := zkproto.Unmarshal(reply, &multi); err != nil {
		t.Fatal(err)
	}
	var ops []Op
	for _, r := range multi.Results {
		ops = append(ops, Op{kind: r.Op, path: "/a"})
	}
	return Multi(ops...)
}

// FuzzAnswer: whatever a server sends as the body of a reply, it is a result or an
// error, and a multi has a result for each of its operations.
func FuzzAnswer(f *testing.F) {
	ops := []Op{
		Get("/a", nil), Children("/a", nil), Exists("/a", nil), Create("/a", nil, Persistent), Set("/a", nil, 0), Delete("/a", 0), Sync("/"),
		Multi(Check("/e", 1), Create("/a", nil, Ephemeral), Set("/a", nil, 0), Delete("/b", 0)),
	}
	multi := zkproto.MultiResponse{Results: []zkproto.Result{
		{Op: zkproto.OpCheck}, {Op: zkproto.OpCreate, Response: &zkproto.PathResponse{Path: "/k/a"}},
		{Op: zkproto.OpSetData, Response: &zkproto.StatResponse{}}, {Op: zkproto.OpDelete},
	}}
	refused := zkproto.MultiResponse{Results: []zkproto.Result{
		{Op: zkproto.OpError, Err: zkproto.ErrBadVersion}, {Op: zkproto.OpError, Err: zkproto.ErrRuntimeInconsistency},
		{Op: zkproto.OpError, Err: zkproto.ErrRuntimeInconsistency}, {Op: zkproto.OpError, Err: zkproto.ErrRuntimeInconsistency},
	}}
	f.Add(byte(7), int32(0), multi.Encode(nil))
	f.Add(byte(7), int32(0), refused.Encode(nil))
	for i, op := range ops[:7] {
		f.Add(byte(i), int32(0), zkproto.NewResponse(op.kind).Encode(nil))
	}
	f.Add(byte(0), int32(zkproto.ErrNoNode), []byte{})
	for _, frame := range traffic.ZooKeeper(f) {
		if !frame.Reply || frame.Event || frame.Op < 0 {
			continue
		}
		header, body, err := zkproto.ParseReply(frame.Bytes)
		if err != nil {
			f.Fatalf("%s: %v", frame.Origin, err)
		}
		which := slices.IndexFunc(ops, func(o Op) bool { return o.kind == zkproto.Op(frame.Op) })
		if frame.Op == int32(zkproto.OpMulti) {
			which = len(ops)
			ops = append(ops, multiAnsweredBy(f, body))
		}
		if which >= 0 {
			f.Add(byte(which), int32(header.Err), body)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, code int32, body []byte) {
		op := ops[int(which)%len(ops)]
		var r Result
		if err := op.answer("/k", zkproto.Error(code), body, &r); err != nil {
			return
		}
		if code != 0 && !errors.Is(r.Err, zkproto.Error(code)) {
			t.Fatalf("error %d became %v", code, r.Err)
		}
		if code == 0 && op.kind == zkproto.OpMulti && len(r.Multi) != len(op.multi) {
			t.Fatalf("%d results", len(r.Multi))
		}
		for _, part := range r.Multi {
			if (part.Err != nil) != (r.Err != nil) {
				t.Fatalf("half a multi was done: %+v", r)
			}
		}
	})
}
