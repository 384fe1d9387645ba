package zkproto

// Operation is one part of a multi or multiRead.
type Operation struct {
	Op      Op
	Request Record // the body that NewRequest(Op) returns
}

// MultiRequest is the body of multi (create in all its forms, delete, setData,
// check) and multiRead (getData, getChildren).
type MultiRequest struct {
	Ops []Operation
}

// A multi header, before each operation and result and once more at the end:
// type, whether this is the end, and an error.
func appendMultiHeader(dst []byte, op Op, done bool, err Error) []byte {
	return AppendInt(AppendBool(AppendInt(dst, int32(op)), done), int32(err))
}

func (d *Decoder) multiHeader() (op Op, done bool, err Error) {
	return Op(d.Int()), d.Bool(), Error(d.Int())
}

func (r *MultiRequest) Encode(dst []byte) []byte {
	for _, o := range r.Ops {
		dst = appendMultiHeader(dst, o.Op, false, -1)
		dst = o.Request.Encode(dst)
	}
	return appendMultiHeader(dst, OpError, true, -1)
}

func (r *MultiRequest) Decode(d *Decoder) {
	r.Ops = nil
	for {
		op, done, _ := d.multiHeader()
		if done || d.err != nil {
			return
		}
		var req Record
		switch op {
		case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL, OpDelete, OpSetData, OpCheck, OpGetData, OpGetChildren:
			req = NewRequest(op)
		default:
			d.fail("%v in a multi", op)
			return
		}
		req.Decode(d)
		if d.err != nil {
			return
		}
		if len(r.Ops) > 0 && isRead(op) != isRead(r.Ops[0].Op) {
			d.fail("a multi of reads and writes")
			return
		}
		r.Ops = append(r.Ops, Operation{op, req})
	}
}

func isRead(op Op) bool { return op == OpGetData || op == OpGetChildren }

// Result is the outcome of one operation of a multi. When Err is 0 Response is
// what NewResponse(Op) returns, or nil for delete and check. A multi is all or
// nothing: if one operation failed, those before it have Op OpError with Err 0,
// and those after it OpError with ErrRuntimeInconsistency. In a multiRead each
// operation has its own fate.
type Result struct {
	Op       Op
	Err      Error
	Response Record
}

// MultiResponse answers multi and multiRead.
type MultiResponse struct {
	Results []Result
}

// Err returns the error that made a multi fail, and the index of the operation
// it belongs to; nil and -1 if there is none.
func (r *MultiResponse) Err() (int, error) {
	for i, res := range r.Results {
		if res.Err != 0 && res.Err != ErrRuntimeInconsistency {
			return i, res.Err
		}
	}
	for i, res := range r.Results {
		if res.Err != 0 {
			return i, res.Err
		}
	}
	return -1, nil
}

func (r *MultiResponse) Encode(dst []byte) []byte {
	for _, res := range r.Results {
		if res.Op == OpError || res.Err != 0 {
			dst = appendMultiHeader(dst, OpError, false, res.Err)
			dst = AppendInt(dst, int32(res.Err))
			continue
		}
		op := res.Op
		if op == OpCreateContainer || op == OpCreateTTL {
			op = OpCreate2 // ZooKeeper's results know two kinds of create
		}
		dst = appendMultiHeader(dst, op, false, 0)
		if res.Response != nil {
			dst = res.Response.Encode(dst)
		}
	}
	return appendMultiHeader(dst, OpError, true, -1)
}

func (r *MultiResponse) Decode(d *Decoder) {
	r.Results = nil
	for {
		op, done, _ := d.multiHeader()
		if done || d.err != nil {
			return
		}
		res := Result{Op: op}
		switch op {
		case OpError:
			res.Err = Error(d.Int())
		case OpDelete, OpCheck:
		case OpCreate, OpCreate2, OpSetData, OpGetData, OpGetChildren:
			res.Response = NewResponse(op)
			res.Response.Decode(d)
		default:
			d.fail("%v in the reply to a multi", op)
		}
		if d.err != nil {
			return
		}
		r.Results = append(r.Results, res)
	}
}
