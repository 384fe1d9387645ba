package session

// Stat describes a node.
type Stat struct {
	Czxid, Mzxid                int64
	Ctime, Mtime                int64 // ms since 1970
	Version, Cversion, Aversion int32
	EphemeralOwner              int64
	DataLength, NumChildren     int32
	Pzxid                       int64
}

// ACL grants permissions to one identity.
type ACL struct {
	Perms      int32
	Scheme, ID string
}

// OpenACL allows everything to everybody.
func OpenACL() []ACL { return []ACL{{31, "world", "anyone"}} }
