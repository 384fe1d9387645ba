package storage

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/magiconair/properties"
)

// metaFile says whose a log directory is. Kafka writes one into each.
const metaFile = "meta.properties"

// Keys of meta.properties in version 0, the one that ZooKeeper mode uses.
// KRaft's version 1 has node.id in the place of broker.id.
const (
	metaVersion     = "version"
	metaBrokerID    = "broker.id"
	metaClusterID   = "cluster.id"
	metaDirectoryID = "directory.id"
)

// Meta is what a log directory's meta.properties says. Every field may be
// absent: Kafka before 0.10.1 wrote no cluster id, and directory ids appear
// when a broker prepares its migration to KRaft.
type Meta struct {
	BrokerID    int32 // −1: absent
	ClusterID   string
	DirectoryID string // kept as it is, never made by this broker
}

var noMeta = Meta{BrokerID: -1}

// parseMeta reads a meta.properties file. The error says in a form fit for the
// person who starts the broker why the directory cannot be used.
func parseMeta(data []byte) (Meta, error) {
	loader := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
	props, err := loader.LoadBytes(data)
	if err != nil {
		return noMeta, fmt.Errorf("not a Java properties file: %w", err)
	}
	if v := props.GetString(metaVersion, "0"); v != "0" {
		return noMeta, fmt.Errorf("version %q: only version 0 belongs to a broker that uses ZooKeeper (1 is KRaft's)", v)
	}
	m := Meta{
		BrokerID:    -1,
		ClusterID:   props.GetString(metaClusterID, ""),
		DirectoryID: props.GetString(metaDirectoryID, ""),
	}
	if id, ok := props.Get(metaBrokerID); ok {
		n, err := strconv.ParseInt(id, 10, 32)
		if err != nil || n < 0 {
			return noMeta, fmt.Errorf("broker.id %q is not a broker id", id)
		}
		m.BrokerID = int32(n)
	}
	return m, nil
}

// encode writes the file as java.util.Properties does: an empty comment, a
// comment with the date, and the keys in no order that matters.
func (m Meta) encode(now time.Time) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "#\n#%s\n", now.Format("Mon Jan 02 15:04:05 MST 2006"))
	if m.BrokerID >= 0 {
		fmt.Fprintf(&b, "%s=%d\n", metaBrokerID, m.BrokerID)
	}
	fmt.Fprintf(&b, "%s=0\n", metaVersion)
	if m.ClusterID != "" {
		fmt.Fprintf(&b, "%s=%s\n", metaClusterID, escapeProperty(m.ClusterID))
	}
	if m.DirectoryID != "" {
		fmt.Fprintf(&b, "%s=%s\n", metaDirectoryID, escapeProperty(m.DirectoryID))
	}
	return []byte(b.String())
}

// escapeProperty protects the characters that mean something in a Java
// properties file. A cluster id is usually a base64url UUID and needs none of
// it, but an operator may have chosen it.
func escapeProperty(value string) string {
	var b strings.Builder
	for i, r := range value {
		switch {
		case strings.ContainsRune(`\:=#!`, r), r == ' ' && i == 0:
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\f':
			b.WriteString(`\f`)
		case r > 0xff:
			// Read as Latin-1 by Kafka, so everything else must be escaped.
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04X`, u)
			}
		case r > 0x7e:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
