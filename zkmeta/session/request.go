package session

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// absolute puts the chroot before a path.
func absolute(chroot, path string) string {
	if path == "/" && chroot != "" {
		return chroot
	}
	return chroot + path
}

// relative takes the chroot off a path that the server named.
func relative(chroot, path string) string {
	if path == chroot {
		return "/"
	}
	if strings.HasPrefix(path, chroot+"/") {
		return path[len(chroot):]
	}
	return path
}

// record makes the body of the request for op, and refuses what no server would
// take.
func (op *Op) record(chroot string) (zkproto.Record, error) {
	if op.kind == zkproto.OpMulti {
		multi := &zkproto.MultiRequest{Ops: make([]zkproto.Operation, len(op.multi))}
		for i := range op.multi {
			part := &op.multi[i]
			switch part.kind {
			case zkproto.OpCreate, zkproto.OpSetData, zkproto.OpDelete, zkproto.OpCheck:
			default:
				return nil, fmt.Errorf("%v in a multi", part.kind)
			}
			body, err := part.record(chroot)
			if err != nil {
				return nil, err
			}
			multi.Ops[i] = zkproto.Operation{Op: part.kind, Request: body}
		}
		return multi, nil
	}
	if err := validatePath(op.path); err != nil {
		return nil, err
	}
	if op.kind == zkproto.OpCreate && op.path == "/" {
		return nil, errors.New("the root exists")
	}
	path := op.absolutePath(chroot)
	switch op.kind {
	case zkproto.OpGetData, zkproto.OpGetChildren2, zkproto.OpExists:
		return &zkproto.PathWatchRequest{Path: path, Watch: op.watch != nil}, nil
	case zkproto.OpCreate:
		return &zkproto.CreateRequest{Path: path, Data: op.data, ACL: op.acl, Mode: op.mode}, nil
	case zkproto.OpSetData:
		return &zkproto.SetDataRequest{Path: path, Data: op.data, Version: op.version}, nil
	case zkproto.OpDelete, zkproto.OpCheck:
		return &zkproto.DeleteRequest{Path: path, Version: op.version}, nil
	case zkproto.OpSync:
		return &zkproto.PathRequest{Path: path}, nil
	}
	return nil, errors.New("an operation that was not made by a function of this package")
}

// answer decodes the reply to op into r. The error is about the bytes, not the
// operation, and means that nothing more on this connection can be believed.
func (op *Op) answer(chroot string, code zkproto.Error, body []byte, r *Result) error {
	if code != 0 {
		r.Err = op.fail(code)
		return nil
	}
	reply := zkproto.NewResponse(op.kind)
	if err := zkproto.Unmarshal(body, reply); err != nil {
		return fmt.Errorf("reply to %v: %w", op.kind, err)
	}
	if op.raw {
		chroot = ""
	}
	if multi, ok := reply.(*zkproto.MultiResponse); ok {
		return op.answerMulti(chroot, multi, r)
	}
	op.take(chroot, reply, r)
	return nil
}

// take copies what a successful reply says.
func (op *Op) take(chroot string, reply zkproto.Record, r *Result) {
	switch reply := reply.(type) {
	case *zkproto.GetDataResponse:
		r.Data, r.Stat = reply.Data, reply.Stat
	case *zkproto.GetChildren2Response:
		r.Children, r.Stat = reply.Children, reply.Stat
	case *zkproto.StatResponse:
		r.Stat = reply.Stat
	case *zkproto.PathResponse:
		r.Path = relative(chroot, reply.Path)
	}
}

func (op *Op) answerMulti(chroot string, reply *zkproto.MultiResponse, r *Result) error {
	if len(reply.Results) != len(op.multi) {
		return fmt.Errorf("reply to a multi of %d operations has %d results", len(op.multi), len(reply.Results))
	}
	failed, err := reply.Err()
	r.Multi = make([]Result, len(op.multi))
	for i := range op.multi {
		part, result := &op.multi[i], &r.Multi[i]
		switch {
		case err == nil:
			if got := reply.Results[i].Op; got != part.kind {
				return fmt.Errorf("reply to a multi has a result of %v for a %v", got, part.kind)
			}
			part.take(chroot, reply.Results[i].Response, result)
		case i == failed:
			result.Err = part.fail(err)
			r.Err = result.Err
		default:
			result.Err = part.fail(ErrRolledBack)
		}
	}
	return nil
}

// fail wraps the reason why op has no answer, or a bad one.
func (op *Op) fail(err error) *OpError {
	path := op.path
	if op.kind == zkproto.OpMulti && len(op.multi) > 0 {
		path = op.multi[0].path
	}
	return &OpError{Op: op.kind.String(), Path: path, Err: err}
}

// absolutePath is the path of op with the chroot.
func (op *Op) absolutePath(chroot string) string {
	if op.raw {
		return op.path
	}
	return absolute(chroot, op.path)
}
