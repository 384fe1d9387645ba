package zkserver

import "strings"

// validPath tells whether a znode may have this path. The rules are those of
// ZooKeeper's PathUtils, which looks at UTF-16 code units: everything beyond
// the basic plane counts as surrogates, which are not allowed.
func validPath(path string) bool {
	if path == "/" {
		return true
	}
	if len(path) == 0 || len(path) > maxPathBytes || path[0] != '/' || path[len(path)-1] == '/' {
		return false
	}
	for name := range strings.SplitSeq(path[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
	}
	for _, r := range path {
		switch {
		case r <= 0x1f, r >= 0x7f && r <= 0x9f, r >= 0xd800 && r <= 0xf8ff, r >= 0xfff0:
			return false
		}
	}
	return true
}

// splitPath returns the path of the parent and the last component. ok is false
// for a path without a slash or with a NUL in it, which ZooKeeper rejects
// before it looks at anything else.
func splitPath(path string) (parent, name string, ok bool) {
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 || strings.IndexByte(path, 0) >= 0 {
		return "", "", false
	}
	if slash == 0 {
		return "/", path[1:], true
	}
	return path[:slash], path[slash+1:], true
}

// isReserved tells whether the node is one of the server's own, which cannot
// be deleted.
func isReserved(path string) bool {
	switch path {
	case "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config":
		return true
	}
	return false
}
