package zkmeta

import (
	"fmt"
	"net/url"
	"strings"
)

// DefaultEntityName is the literal node name under which the defaults of a kind
// of entity are kept. It is never URL-encoded.
const DefaultEntityName = "<default>"

// EncodeEntityName makes a node name of the name of a user, client, broker or
// address, as Kafka's Sanitizer does: Java's URLEncoder in UTF-8, then * as %2A and
// space as %20. Only A-Z a-z 0-9 . - _ stay as they are, so ~ is escaped, which
// url.QueryEscape leaves alone.
func EncodeEntityName(name string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// DecodeEntityName reverses EncodeEntityName. A + is read as a space, as Java's
// URLDecoder does. The default entity's name is returned as it is.
func DecodeEntityName(node string) (string, error) {
	if node == DefaultEntityName {
		return node, nil
	}
	name, err := url.QueryUnescape(node)
	if err != nil {
		return "", fmt.Errorf("entity name %q: %w", node, err)
	}
	return name, nil
}
