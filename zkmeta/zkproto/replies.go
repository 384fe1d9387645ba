package zkproto

// PathResponse answers create and sync.
type PathResponse struct {
	Path string
}

func (r *PathResponse) Encode(dst []byte) []byte { return AppendString(dst, r.Path) }

func (r *PathResponse) Decode(d *Decoder) { r.Path = d.String() }

// Create2Response answers create2, createContainer and createTTL.
type Create2Response struct {
	Path string
	Stat Stat
}

func (r *Create2Response) Encode(dst []byte) []byte { return r.Stat.Encode(AppendString(dst, r.Path)) }

func (r *Create2Response) Decode(d *Decoder) {
	r.Path = d.String()
	r.Stat.Decode(d)
}

// StatResponse answers exists, setData and setACL.
type StatResponse struct {
	Stat Stat
}

func (r *StatResponse) Encode(dst []byte) []byte { return r.Stat.Encode(dst) }

func (r *StatResponse) Decode(d *Decoder) { r.Stat.Decode(d) }

// GetDataResponse answers getData. Data is nil for a node without data.
type GetDataResponse struct {
	Data []byte
	Stat Stat
}

func (r *GetDataResponse) Encode(dst []byte) []byte { return r.Stat.Encode(AppendBuffer(dst, r.Data)) }

func (r *GetDataResponse) Decode(d *Decoder) {
	r.Data = d.Buffer()
	r.Stat.Decode(d)
}

// GetChildrenResponse answers getChildren. Children are names in no
// particular order.
type GetChildrenResponse struct {
	Children []string
}

func (r *GetChildrenResponse) Encode(dst []byte) []byte { return AppendStrings(dst, r.Children) }

func (r *GetChildrenResponse) Decode(d *Decoder) { r.Children = d.Strings() }

// GetChildren2Response answers getChildren2.
type GetChildren2Response struct {
	Children []string
	Stat     Stat
}

func (r *GetChildren2Response) Encode(dst []byte) []byte {
	return r.Stat.Encode(AppendStrings(dst, r.Children))
}

func (r *GetChildren2Response) Decode(d *Decoder) {
	r.Children = d.Strings()
	r.Stat.Decode(d)
}

// GetACLResponse answers getACL.
type GetACLResponse struct {
	ACL  []ACL
	Stat Stat
}

func (r *GetACLResponse) Encode(dst []byte) []byte { return r.Stat.Encode(AppendACLs(dst, r.ACL)) }

func (r *GetACLResponse) Decode(d *Decoder) {
	r.ACL = d.ACLs()
	r.Stat.Decode(d)
}

// GetEphemeralsResponse answers getEphemerals.
type GetEphemeralsResponse struct {
	Ephemerals []string
}

func (r *GetEphemeralsResponse) Encode(dst []byte) []byte { return AppendStrings(dst, r.Ephemerals) }

func (r *GetEphemeralsResponse) Decode(d *Decoder) { r.Ephemerals = d.Strings() }

// GetAllChildrenNumberResponse answers getAllChildrenNumber: the number of
// descendants.
type GetAllChildrenNumberResponse struct {
	Total int32
}

func (r *GetAllChildrenNumberResponse) Encode(dst []byte) []byte { return AppendInt(dst, r.Total) }

func (r *GetAllChildrenNumberResponse) Decode(d *Decoder) { r.Total = d.Int() }

// WhoAmIResponse answers whoAmI.
type WhoAmIResponse struct {
	ClientInfo []ClientInfo
}

func (r *WhoAmIResponse) Encode(dst []byte) []byte {
	dst = AppendInt(dst, int32(len(r.ClientInfo)))
	for _, c := range r.ClientInfo {
		dst = AppendString(AppendString(dst, c.AuthScheme), c.User)
	}
	return dst
}

func (r *WhoAmIResponse) Decode(d *Decoder) {
	r.ClientInfo = nil
	for range d.count(8, "identities") {
		r.ClientInfo = append(r.ClientInfo, ClientInfo{AuthScheme: d.String(), User: d.String()})
	}
}

// ErrorResponse answers addWatch (always with 0), and stands for a failed
// operation in a multi.
type ErrorResponse struct {
	Err Error
}

func (r *ErrorResponse) Encode(dst []byte) []byte { return AppendInt(dst, int32(r.Err)) }

func (r *ErrorResponse) Decode(d *Decoder) { r.Err = Error(d.Int()) }

// NewResponse returns an empty body for the reply to a request of type op, or
// nil if op is unknown. Replies without a body decode into Empty.
func NewResponse(op Op) Record {
	switch op {
	case OpCreate, OpSync:
		return &PathResponse{}
	case OpCreate2, OpCreateContainer, OpCreateTTL:
		return &Create2Response{}
	case OpExists, OpSetData, OpSetACL:
		return &StatResponse{}
	case OpGetData:
		return &GetDataResponse{}
	case OpGetACL:
		return &GetACLResponse{}
	case OpGetChildren:
		return &GetChildrenResponse{}
	case OpGetChildren2:
		return &GetChildren2Response{}
	case OpMulti, OpMultiRead:
		return &MultiResponse{}
	case OpGetEphemerals:
		return &GetEphemeralsResponse{}
	case OpGetAllChildrenNumber:
		return &GetAllChildrenNumberResponse{}
	case OpWhoAmI:
		return &WhoAmIResponse{}
	case OpAddWatch:
		return &ErrorResponse{}
	case OpDelete, OpCheck, OpPing, OpAuth, OpSetWatches, OpSetWatches2, OpCheckWatches, OpRemoveWatches, OpCloseSession:
		return &Empty{}
	}
	return nil
}
