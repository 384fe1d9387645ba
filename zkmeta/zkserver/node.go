package zkserver

import (
	"fmt"
	"slices"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// containerOwner in place of a session id marks a container: a node that is
// deleted after its last child.
const containerOwner int64 = -1 << 63

// nodeState is what a node keeps beside its children. It is copied whole when a
// multi may have to be undone, so data and acl are replaced, never written to.
type nodeState struct {
	czxid, mzxid, pzxid int64
	ctime, mtime        int64 // milliseconds since 1970
	version, aversion   int32
	// creates counts the children ever created. It numbers sequential
	// children, and is what clients see as the child version once deletions
	// are added to it.
	creates int32
	owner   int64 // session id, containerOwner or 0
	data    []byte
	acl     []zkproto.ACL
}

// node is one znode. It belongs to its tree.
type node struct {
	nodeState
	children []string // names, in order
}

func (n *node) ephemeral() bool { return n.owner != 0 && n.owner != containerOwner }

// stat returns what clients see of the node. ZooKeeper's child version counts
// creations and deletions; stored are the creations, and creations minus
// children are the deletions.
func (n *node) stat() zkproto.Stat {
	s := zkproto.Stat{
		Czxid: n.czxid, Mzxid: n.mzxid, Pzxid: n.pzxid, Ctime: n.ctime, Mtime: n.mtime,
		Version: n.version, Aversion: n.aversion, Cversion: n.creates*2 - int32(len(n.children)),
		DataLength: int32(len(n.data)), NumChildren: int32(len(n.children)),
	}
	if n.ephemeral() {
		s.EphemeralOwner = n.owner
	}
	return s
}

// adopt adds a child, whose name is new.
func (n *node) adopt(name string) {
	at, _ := slices.BinarySearch(n.children, name)
	n.children = slices.Insert(n.children, at, name)
}

// lose takes a child away.
func (n *node) lose(name string) {
	at, _ := slices.BinarySearch(n.children, name)
	n.children = slices.Delete(n.children, at, at+1)
}

// nodeFormat is the first byte of a stored node.
const nodeFormat = 1

// encode returns the node's value in the store: the format byte, then in
// ZooKeeper's own encoding the fields, the ACL and the data.
func (n *node) encode() []byte {
	dst := make([]byte, 0, 96+len(n.data))
	dst = append(dst, nodeFormat)
	for _, v := range []int64{n.czxid, n.mzxid, n.pzxid, n.ctime, n.mtime, n.owner} {
		dst = zkproto.AppendLong(dst, v)
	}
	for _, v := range []int32{n.version, n.aversion, n.creates} {
		dst = zkproto.AppendInt(dst, v)
	}
	dst = zkproto.AppendACLs(dst, n.acl)
	return zkproto.AppendBuffer(dst, n.data)
}

func decodeNode(value []byte) (*node, error) {
	if len(value) == 0 || value[0] != nodeFormat {
		return nil, fmt.Errorf("unknown format of a stored node")
	}
	d := zkproto.NewDecoder(value[1:])
	n := &node{}
	for _, p := range []*int64{&n.czxid, &n.mzxid, &n.pzxid, &n.ctime, &n.mtime, &n.owner} {
		*p = d.Long()
	}
	for _, p := range []*int32{&n.version, &n.aversion, &n.creates} {
		*p = d.Int()
	}
	n.acl = shareACL(d.ACLs())
	n.data = slices.Clone(d.Buffer())
	if err := d.Err(); err != nil {
		return nil, err
	}
	if d.Len() > 0 {
		return nil, fmt.Errorf("%d bytes after the end of a stored node", d.Len())
	}
	return n, nil
}
