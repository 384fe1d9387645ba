package zkproto

// CreateRequest is the body of create, create2 and createContainer.
type CreateRequest struct {
	Path string
	Data []byte // nil is null
	ACL  []ACL
	Mode CreateMode
}

func (r *CreateRequest) Encode(dst []byte) []byte {
	dst = AppendString(dst, r.Path)
	dst = AppendBuffer(dst, r.Data)
	dst = AppendACLs(dst, r.ACL)
	return AppendInt(dst, int32(r.Mode))
}

func (r *CreateRequest) Decode(d *Decoder) {
	r.Path, r.Data, r.ACL, r.Mode = d.path(), d.Buffer(), d.ACLs(), CreateMode(d.Int())
}

// CreateTTLRequest is the body of createTTL.
type CreateTTLRequest struct {
	CreateRequest
	TTL int64 // milliseconds
}

func (r *CreateTTLRequest) Encode(dst []byte) []byte {
	return AppendLong(r.CreateRequest.Encode(dst), r.TTL)
}

func (r *CreateTTLRequest) Decode(d *Decoder) {
	r.CreateRequest.Decode(d)
	r.TTL = d.Long()
}

// DeleteRequest is the body of delete.
type DeleteRequest struct {
	Path    string
	Version int32 // AnyVersion or the version the node must have
}

func (r *DeleteRequest) Encode(dst []byte) []byte {
	return AppendInt(AppendString(dst, r.Path), r.Version)
}

func (r *DeleteRequest) Decode(d *Decoder) { r.Path, r.Version = d.path(), d.Int() }

// CheckVersionRequest is the body of check.
type CheckVersionRequest = DeleteRequest

// PathWatchRequest is the body of exists, getData, getChildren and
// getChildren2.
type PathWatchRequest struct {
	Path  string
	Watch bool
}

func (r *PathWatchRequest) Encode(dst []byte) []byte {
	return AppendBool(AppendString(dst, r.Path), r.Watch)
}

func (r *PathWatchRequest) Decode(d *Decoder) { r.Path, r.Watch = d.path(), d.Bool() }

// SetDataRequest is the body of setData.
type SetDataRequest struct {
	Path    string
	Data    []byte // nil is null
	Version int32
}

func (r *SetDataRequest) Encode(dst []byte) []byte {
	return AppendInt(AppendBuffer(AppendString(dst, r.Path), r.Data), r.Version)
}

func (r *SetDataRequest) Decode(d *Decoder) {
	r.Path, r.Data, r.Version = d.path(), d.Buffer(), d.Int()
}

// PathRequest is the body of getACL, sync, getAllChildrenNumber and
// getEphemerals (where the path is a prefix).
type PathRequest struct {
	Path string
}

func (r *PathRequest) Encode(dst []byte) []byte { return AppendString(dst, r.Path) }

func (r *PathRequest) Decode(d *Decoder) { r.Path = d.String() }

// SetACLRequest is the body of setACL. Version is that of the ACL.
type SetACLRequest struct {
	Path    string
	ACL     []ACL
	Version int32
}

func (r *SetACLRequest) Encode(dst []byte) []byte {
	return AppendInt(AppendACLs(AppendString(dst, r.Path), r.ACL), r.Version)
}

func (r *SetACLRequest) Decode(d *Decoder) {
	r.Path, r.ACL, r.Version = d.path(), d.ACLs(), d.Int()
}

// AuthRequest is the body of auth, sent under XIDAuth.
type AuthRequest struct {
	Type   int32 // always 0
	Scheme string
	Auth   []byte
}

func (r *AuthRequest) Encode(dst []byte) []byte {
	return AppendBuffer(AppendString(AppendInt(dst, r.Type), r.Scheme), r.Auth)
}

func (r *AuthRequest) Decode(d *Decoder) {
	r.Type, r.Scheme, r.Auth = d.Int(), d.String(), d.Buffer()
}

// SetWatchesRequest re-arms a client's one-shot watches on a new connection; a
// watch whose node has changed after RelativeZxid fires at once.
type SetWatchesRequest struct {
	RelativeZxid int64
	Data         []string // watches left by getData, and by exists on a node that was there
	Exist        []string // watches left by exists on a node that was not there
	Child        []string
}

func (r *SetWatchesRequest) Encode(dst []byte) []byte {
	dst = AppendLong(dst, r.RelativeZxid)
	dst = AppendStrings(dst, r.Data)
	dst = AppendStrings(dst, r.Exist)
	return AppendStrings(dst, r.Child)
}

func (r *SetWatchesRequest) Decode(d *Decoder) {
	r.RelativeZxid, r.Data, r.Exist, r.Child = d.Long(), d.Strings(), d.Strings(), d.Strings()
}

// SetWatches2Request is setWatches with the persistent watches of addWatch.
type SetWatches2Request struct {
	SetWatchesRequest
	Persistent          []string
	PersistentRecursive []string
}

func (r *SetWatches2Request) Encode(dst []byte) []byte {
	dst = r.SetWatchesRequest.Encode(dst)
	return AppendStrings(AppendStrings(dst, r.Persistent), r.PersistentRecursive)
}

func (r *SetWatches2Request) Decode(d *Decoder) {
	r.SetWatchesRequest.Decode(d)
	r.Persistent, r.PersistentRecursive = d.Strings(), d.Strings()
}

// AddWatchRequest is the body of addWatch.
type AddWatchRequest struct {
	Path string
	Mode AddWatchMode
}

func (r *AddWatchRequest) Encode(dst []byte) []byte {
	return AppendInt(AppendString(dst, r.Path), int32(r.Mode))
}

func (r *AddWatchRequest) Decode(d *Decoder) { r.Path, r.Mode = d.path(), AddWatchMode(d.Int()) }

// WatchesRequest is the body of checkWatches and removeWatches.
type WatchesRequest struct {
	Path string
	Type WatcherType
}

func (r *WatchesRequest) Encode(dst []byte) []byte {
	return AppendInt(AppendString(dst, r.Path), int32(r.Type))
}

func (r *WatchesRequest) Decode(d *Decoder) { r.Path, r.Type = d.path(), WatcherType(d.Int()) }

// Empty is the body of ping, whoAmI and closeSession, and of replies that say
// nothing.
type Empty struct{}

func (*Empty) Encode(dst []byte) []byte { return dst }

func (*Empty) Decode(*Decoder) {}

// NewRequest returns an empty body for a request of type op, or nil if clients
// cannot send that type (or this package does not know it: reconfig and sasl).
func NewRequest(op Op) Record {
	switch op {
	case OpCreate, OpCreate2, OpCreateContainer:
		return &CreateRequest{}
	case OpCreateTTL:
		return &CreateTTLRequest{}
	case OpDelete, OpDeleteContainer, OpCheck:
		return &DeleteRequest{}
	case OpExists, OpGetData, OpGetChildren, OpGetChildren2:
		return &PathWatchRequest{}
	case OpSetData:
		return &SetDataRequest{}
	case OpGetACL, OpSync, OpGetAllChildrenNumber, OpGetEphemerals:
		return &PathRequest{}
	case OpSetACL:
		return &SetACLRequest{}
	case OpMulti, OpMultiRead:
		return &MultiRequest{}
	case OpAuth:
		return &AuthRequest{}
	case OpSetWatches:
		return &SetWatchesRequest{}
	case OpSetWatches2:
		return &SetWatches2Request{}
	case OpAddWatch:
		return &AddWatchRequest{}
	case OpCheckWatches, OpRemoveWatches:
		return &WatchesRequest{}
	case OpPing, OpWhoAmI, OpCloseSession:
		return &Empty{}
	}
	return nil
}
