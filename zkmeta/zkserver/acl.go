package zkserver

import (
	"crypto/sha1"
	"encoding/base64"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// identity is what a connection has shown to be: its address (scheme ip), and
// each user and password it gave (scheme digest).
type identity struct {
	scheme, id string
}

// maxIdentities bounds the credentials of one connection.
const maxIdentities = 32

// openACL lets anyone do anything; nearly every node has it, and shares it.
var openACL = zkproto.WorldACL(zkproto.PermAll)

func shareACL(acl []zkproto.ACL) []zkproto.ACL {
	if slices.Equal(acl, openACL) {
		return openACL
	}
	return acl
}

// addressIdentity returns the identity that comes with a connection, if it has
// an IPv4 address: ZooKeeper knows no other.
func addressIdentity(a net.Addr) []identity {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return nil
	}
	return []identity{{"ip", tcp.AddrPort().Addr().Unmap().String()}}
}

// digestIdentity makes an identity of "user:password". The SHA-1 is
// ZooKeeper's: it stands in the ACLs of existing nodes.
func digestIdentity(credentials []byte) identity {
	s := strings.ToValidUTF8(string(credentials), "\uFFFD")
	user, _, _ := strings.Cut(s, ":")
	sum := sha1.Sum([]byte(s))
	return identity{"digest", user + ":" + base64.StdEncoding.EncodeToString(sum[:])}
}

// fixACL returns the list to store for one that a client gave: without
// duplicates, and with the scheme auth replaced by who the client is. A list
// that is empty or holds an entry that this server could not enforce is
// ErrInvalidACL.
func fixACL(given []zkproto.ACL, who []identity) ([]zkproto.ACL, error) {
	var out []zkproto.ACL
	seen := make(map[zkproto.ACL]struct{}, len(given))
	for _, a := range given {
		if _, dup := seen[a]; dup {
			continue
		}
		seen[a] = struct{}{}
		switch a.Scheme {
		case "world":
			if a.ID != "anyone" {
				return nil, zkproto.ErrInvalidACL
			}
			out = append(out, a)
		case "auth":
			before := len(out)
			for _, w := range who {
				if w.scheme == "digest" { // an address proves no identity
					out = append(out, zkproto.ACL{Perms: a.Perms, Scheme: w.scheme, ID: w.id})
				}
			}
			if len(out) == before {
				return nil, zkproto.ErrInvalidACL
			}
		case "digest":
			if _, hash, ok := strings.Cut(a.ID, ":"); !ok || hash == "" || strings.Contains(hash, ":") {
				return nil, zkproto.ErrInvalidACL
			}
			out = append(out, a)
		case "ip":
			if _, ok := parseIPRange(a.ID); !ok {
				return nil, zkproto.ErrInvalidACL
			}
			out = append(out, a)
		default:
			return nil, zkproto.ErrInvalidACL
		}
	}
	if len(out) == 0 {
		return nil, zkproto.ErrInvalidACL
	}
	return shareACL(out), nil
}

// parseIPRange reads an IPv4 address, alone or with "/" and a number of bits.
func parseIPRange(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		s += "/32"
	}
	p, err := netip.ParsePrefix(s)
	return p, err == nil && p.Addr().Is4()
}

// permitted tells whether one of the permissions in perm is granted.
func permitted(acl []zkproto.ACL, perm int32, who []identity) bool {
	for _, a := range acl {
		if a.Perms&perm == 0 {
			continue
		}
		if a.Scheme == "world" && a.ID == "anyone" {
			return true
		}
		for _, w := range who {
			if w.scheme != a.Scheme {
				continue
			}
			switch a.Scheme {
			case "digest":
				if w.id == a.ID {
					return true
				}
			case "ip":
				addr, err := netip.ParseAddr(w.id)
				if p, ok := parseIPRange(a.ID); ok && err == nil && p.Contains(addr) {
					return true
				}
			}
		}
	}
	return len(acl) == 0
}

// hideDigests returns the list as those may see it who may not change it.
func hideDigests(acl []zkproto.ACL) []zkproto.ACL {
	out := slices.Clone(acl)
	for i, a := range out {
		if user, _, ok := strings.Cut(a.ID, ":"); ok && a.Scheme == "digest" {
			out[i].ID = user + ":x"
		}
	}
	return out
}
