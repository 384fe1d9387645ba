package zkproto

// Stat describes a znode. Times are milliseconds since 1970.
type Stat struct {
	Czxid          int64 // transaction that created it
	Mzxid          int64 // transaction of the last change of its data
	Ctime          int64
	Mtime          int64
	Version        int32 // changes of data
	Cversion       int32 // creations and deletions of children
	Aversion       int32 // changes of the ACL
	EphemeralOwner int64 // session id, 0 if not ephemeral
	DataLength     int32
	NumChildren    int32
	Pzxid          int64 // transaction of the last creation or deletion of a child
}

func (s *Stat) Encode(dst []byte) []byte {
	dst = AppendLong(dst, s.Czxid)
	dst = AppendLong(dst, s.Mzxid)
	dst = AppendLong(dst, s.Ctime)
	dst = AppendLong(dst, s.Mtime)
	dst = AppendInt(dst, s.Version)
	dst = AppendInt(dst, s.Cversion)
	dst = AppendInt(dst, s.Aversion)
	dst = AppendLong(dst, s.EphemeralOwner)
	dst = AppendInt(dst, s.DataLength)
	dst = AppendInt(dst, s.NumChildren)
	return AppendLong(dst, s.Pzxid)
}

func (s *Stat) Decode(d *Decoder) {
	s.Czxid = d.Long()
	s.Mzxid = d.Long()
	s.Ctime = d.Long()
	s.Mtime = d.Long()
	s.Version = d.Int()
	s.Cversion = d.Int()
	s.Aversion = d.Int()
	s.EphemeralOwner = d.Long()
	s.DataLength = d.Int()
	s.NumChildren = d.Int()
	s.Pzxid = d.Long()
}

// ACL is one entry of an access control list: what the identity may do.
type ACL struct {
	Perms  int32
	Scheme string
	ID     string
}

// WorldACL returns the list that lets anyone do what perms say.
func WorldACL(perms int32) []ACL { return []ACL{{Perms: perms, Scheme: "world", ID: "anyone"}} }

// AppendACLs appends a vector of ACL entries, never null.
func AppendACLs(dst []byte, acls []ACL) []byte {
	dst = AppendInt(dst, int32(len(acls)))
	for _, a := range acls {
		dst = AppendInt(dst, a.Perms)
		dst = AppendString(dst, a.Scheme)
		dst = AppendString(dst, a.ID)
	}
	return dst
}

// ACLs reads a vector of ACL entries; null and empty both come back as nil.
func (d *Decoder) ACLs() []ACL {
	n := d.count(12, "ACL entries")
	if n == 0 {
		return nil
	}
	out := make([]ACL, 0, n)
	for range n {
		out = append(out, ACL{Perms: d.Int(), Scheme: d.String(), ID: d.String()})
	}
	if d.err != nil {
		return nil
	}
	return out
}

// WatcherEvent is what a watch sends, under XIDWatch.
type WatcherEvent struct {
	Type  EventType
	State KeeperState
	Path  string
}

func (e *WatcherEvent) Encode(dst []byte) []byte {
	return AppendString(AppendInt(AppendInt(dst, int32(e.Type)), int32(e.State)), e.Path)
}

func (e *WatcherEvent) Decode(d *Decoder) {
	e.Type, e.State, e.Path = EventType(d.Int()), KeeperState(d.Int()), d.String()
}

// ClientInfo is one identity of a connection, as whoAmI tells it.
type ClientInfo struct {
	AuthScheme string
	User       string
}
