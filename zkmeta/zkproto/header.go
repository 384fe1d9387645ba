package zkproto

// RequestHeader stands before the body of every request but connect.
type RequestHeader struct {
	XID int32 // chosen by the client, comes back in the reply
	Op  Op
}

func (h *RequestHeader) Encode(dst []byte) []byte {
	return AppendInt(AppendInt(dst, h.XID), int32(h.Op))
}

func (h *RequestHeader) Decode(d *Decoder) {
	h.XID, h.Op = d.Int(), Op(d.Int())
}

// ReplyHeader stands before the body of every reply but connect's. With an Err
// other than 0 there is no body.
type ReplyHeader struct {
	XID  int32
	Zxid int64 // the last transaction that the server had applied
	Err  Error
}

func (h *ReplyHeader) Encode(dst []byte) []byte {
	return AppendInt(AppendLong(AppendInt(dst, h.XID), h.Zxid), int32(h.Err))
}

func (h *ReplyHeader) Decode(d *Decoder) {
	h.XID, h.Zxid, h.Err = d.Int(), d.Long(), Error(d.Int())
}

// ParseRequest splits a frame's bytes into header and body.
func ParseRequest(frame []byte) (h RequestHeader, body []byte, err error) {
	d := NewDecoder(frame)
	h.Decode(d)
	return h, d.Rest(), d.Err()
}

// ParseReply splits a frame's bytes into header and body.
func ParseReply(frame []byte) (h ReplyHeader, body []byte, err error) {
	d := NewDecoder(frame)
	h.Decode(d)
	return h, d.Rest(), d.Err()
}

// ConnectRequest is the first frame of a client, without a header. SessionID 0
// asks for a new session; otherwise Password must be the one the session was
// given.
type ConnectRequest struct {
	ProtocolVersion int32 // always 0
	LastZxidSeen    int64 // a server that is behind it refuses the client
	TimeoutMS       int32
	SessionID       int64
	Password        []byte // 16 bytes
	ReadOnly        bool   // a server without a quorum would do
	// HasReadOnly tells whether the byte is there at all: clients before 3.4,
	// go-zookeeper among them, do not send it.
	HasReadOnly bool
}

func (r *ConnectRequest) Encode(dst []byte) []byte {
	dst = AppendInt(dst, r.ProtocolVersion)
	dst = AppendLong(dst, r.LastZxidSeen)
	dst = AppendInt(dst, r.TimeoutMS)
	dst = AppendLong(dst, r.SessionID)
	dst = AppendBuffer(dst, r.Password)
	if r.HasReadOnly {
		dst = AppendBool(dst, r.ReadOnly)
	}
	return dst
}

func (r *ConnectRequest) Decode(d *Decoder) {
	r.ProtocolVersion = d.Int()
	r.LastZxidSeen = d.Long()
	r.TimeoutMS = d.Int()
	r.SessionID = d.Long()
	r.Password = d.Buffer()
	r.HasReadOnly = d.Len() > 0
	r.ReadOnly = r.HasReadOnly && d.Bool()
}

// ConnectResponse answers ConnectRequest, without a header. TimeoutMS and
// SessionID 0 mean that the session asked for has expired (or that the
// password was wrong).
type ConnectResponse struct {
	ProtocolVersion int32
	TimeoutMS       int32 // what the server grants
	SessionID       int64
	Password        []byte
	ReadOnly        bool // the server has no quorum
	HasReadOnly     bool // sent to clients that sent the byte themselves
}

func (r *ConnectResponse) Encode(dst []byte) []byte {
	dst = AppendInt(dst, r.ProtocolVersion)
	dst = AppendInt(dst, r.TimeoutMS)
	dst = AppendLong(dst, r.SessionID)
	dst = AppendBuffer(dst, r.Password)
	if r.HasReadOnly {
		dst = AppendBool(dst, r.ReadOnly)
	}
	return dst
}

func (r *ConnectResponse) Decode(d *Decoder) {
	r.ProtocolVersion = d.Int()
	r.TimeoutMS = d.Int()
	r.SessionID = d.Long()
	r.Password = d.Buffer()
	r.HasReadOnly = d.Len() > 0
	r.ReadOnly = r.HasReadOnly && d.Bool()
}
