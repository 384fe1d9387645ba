package differential

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A normaliser turns replies into what two brokers must agree on. What differs
// by nature is replaced by a name for it, so that it is still compared whether
// it is there, and whether it is the same as in an earlier reply.
type normaliser struct {
	prefix string
	port   int32
	dir    func(string) string
	seen   map[string]map[any]string // per kind of id: what it is called
	own    bool                      // leave out topics and groups of other conversations
	strip  map[string]bool           // fields that the case does not compare
}

// invented ids are those that cases make up: they are shown as they are.
var invented = [16]byte{0xdd, 0xdd, 0xdd, 0xdd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}

// named fields, by "key.Field" or "Field": what differs between brokers and
// runs by nature. Each gets a number in the order in which its values turn up.
var named = map[string]string{
	"TopicID":            "topic id",    // random
	"ProducerID":         "producer id", // from blocks that each cluster counts
	"1.SessionID":        "session",     // random
	"ClusterID":          "cluster",     // random
	"67.ProducerIDStart": "block",       // as producer ids
}

// unordered arrays: Kafka answers them in the order of a hash map over names
// that differ from run to run.
var unordered = map[string]bool{
	"0.Topics":                   true,
	"0.Topics.Partitions":        true,
	"35.Dirs.Topics.Partitions":  true,
	"32.Resources":               true,
	"33.Resources":               true,
	"44.Resources":               true,
	"20.Topics":                  true,
	"1.Topics":                   true, // what was read before what is refused
	"3.Topics":                   true,
	"3.Topics.Partitions":        true,
	"8.Topics":                   true,
	"8.Topics.Partitions":        true,
	"9.Topics":                   true,
	"9.Topics.Partitions":        true,
	"9.Groups.Topics":            true,
	"9.Groups.Topics.Partitions": true,
	"11.Members":                 true,
	"15.Groups.Members":          true,
	"16.Groups":                  true,
	"42.Groups":                  true,
	"47.Topics":                  true,
	"47.Topics.Partitions":       true,

	"24.Topics":                              true,
	"24.Topics.Partitions":                   true,
	"24.Transactions":                        true,
	"24.Transactions.Topics":                 true,
	"24.Transactions.Topics.Partitions":      true,
	"27.Markers.Topics.Partitions":           true,
	"28.Topics":                              true,
	"28.Topics.Partitions":                   true,
	"65.TransactionStates.Topics":            true,
	"65.TransactionStates.Topics.Partitions": true,
	"66.TransactionStates":                   true,
}

// randomUUID ends the ids that members of groups are given.
var randomUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func (n *normaliser) call(kind string, v any) string {
	if n.seen[kind] == nil {
		n.seen[kind] = map[any]string{}
	}
	name, ok := n.seen[kind][v]
	if !ok {
		name = fmt.Sprintf("<%s %d>", kind, len(n.seen[kind])+1)
		n.seen[kind][v] = name
	}
	return name
}

// learn is reply for what is not recorded: ids keep the order of their coming.
func (n *normaliser) learn(resp kmsg.Response) { n.reply(resp) }

func (n *normaliser) reply(resp kmsg.Response) any {
	return n.value(resp.Key(), "", reflect.ValueOf(resp).Elem(), reflect.Value{})
}

// value returns maps, slices, strings, numbers; fields that have their default
// are left out. path is the path of the field without indexes, e.g. "Topics.Name".
func (n *normaliser) value(key int16, path string, v, def reflect.Value) any {
	field := path[strings.LastIndexByte(path, '.')+1:]
	if kind, ok := named[field]; ok {
		return n.id(kind, v)
	}
	if kind, ok := named[fmt.Sprintf("%d.%s", key, path)]; ok {
		return n.id(kind, v)
	}
	switch v.Kind() {
	case reflect.Struct:
		return n.structure(key, path, v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return n.blob(field, v)
		}
		return n.list(key, path, v)
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return n.value(key, path, v.Elem(), reflect.Value{})
	case reflect.String:
		return n.text(field, v.String())
	case reflect.Array: // an id
		if v.IsZero() {
			return "<zero>"
		}
		return fmt.Sprintf("%x", v.Interface())
	case reflect.Bool:
		return v.Bool()
	case reflect.Float64:
		return v.Float()
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return int64(v.Uint())
	default:
		i := v.Int()
		if field == "Port" && int32(i) == n.port {
			return "<port>"
		}
		return now(i)
	}
}

// now names a time that is about now.
func now(ms int64) any {
	if d := ms - time.Now().UnixMilli(); d > -60_000 && d < 60_000 {
		return "<now>"
	}
	return ms
}

func (n *normaliser) id(kind string, v reflect.Value) any {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if v.IsZero() {
		return "<zero>"
	}
	if v.Kind() == reflect.Int64 && v.Int() < 0 || v.Kind() == reflect.Int64 && v.Int() >= firstInventedProducer {
		return v.Int()
	}
	if v.Kind() == reflect.Array && v.Interface() == invented {
		return "<invented>"
	}
	return n.call(kind, v.Interface())
}

// firstInventedProducer is the lowest producer id that cases make up.
const firstInventedProducer = 1 << 40

func (n *normaliser) structure(key int16, path string, v reflect.Value) any {
	def := reflect.New(v.Type())
	if d, ok := def.Interface().(interface{ Default() }); ok {
		d.Default()
	}
	def = def.Elem()
	out := map[string]any{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Name == "Version" || !f.IsExported() || n.strip[f.Name] {
			continue
		}
		if f.Name == "UnknownTags" {
			tags := v.Field(i).Interface().(kmsg.Tags)
			tags.Each(func(t uint32, _ []byte) { out[fmt.Sprintf("tag %d", t)] = true })
			continue
		}
		if reflect.DeepEqual(v.Field(i).Interface(), def.Field(i).Interface()) {
			continue
		}
		sub := f.Name
		if path != "" {
			sub = path + "." + f.Name
		}
		out[f.Name] = n.value(key, sub, v.Field(i), def.Field(i))
	}
	return out
}

func (n *normaliser) list(key int16, path string, v reflect.Value) any {
	if v.IsNil() {
		return nil
	}
	if key == 18 && path == "ApiKeys" {
		byKey := map[string]any{} // so that one key more does not move all others
		for i := range v.Len() {
			k := v.Index(i).Interface().(kmsg.ApiVersionsResponseApiKey)
			byKey[fmt.Sprint(k.ApiKey, " min")] = k.MinVersion
			byKey[fmt.Sprint(k.ApiKey, " max")] = k.MaxVersion
		}
		return byKey
	}
	if strings.HasSuffix(path, ".Configs") { // in the order of a hash map, too
		byName := map[string]any{}
		for i := range v.Len() {
			c := n.value(key, path, v.Index(i), reflect.Value{}).(map[string]any)
			name := fmt.Sprint(c["Name"])
			delete(c, "Name")
			if d, ok := c["Documentation"].(string); ok && d != "" {
				c["Documentation"] = "in own words"
			}
			if n.strip["ConfigSynonyms"] {
				delete(c, "ConfigSynonyms")
			}
			byName[name] = c
		}
		return byName
	}
	out := []any{}
	for i := range v.Len() {
		e := v.Index(i)
		if n.own && !n.ours(e) {
			continue
		}
		out = append(out, n.value(key, path, e, reflect.Value{}))
	}
	if unordered[fmt.Sprintf("%d.%s", key, path)] {
		sort.SliceStable(out, func(i, j int) bool { return text(out[i]) < text(out[j]) })
	}
	return out
}

// ours says whether an element is not a topic or a group of another conversation.
func (n *normaliser) ours(e reflect.Value) bool {
	if e.Kind() != reflect.Struct {
		return true
	}
	f := e.FieldByName("Topic")
	if !f.IsValid() {
		f = e.FieldByName("Group")
	}
	if !f.IsValid() {
		return true
	}
	if f.Kind() == reflect.Pointer {
		if f.IsNil() {
			return true
		}
		f = f.Elem()
	}
	return f.Kind() != reflect.String || strings.HasPrefix(f.String(), n.prefix)
}

func (n *normaliser) text(field, s string) any {
	if field == "LogDir" || field == "Dir" {
		return n.dir(s)
	}
	if field == "MemberID" || field == "LeaderID" {
		s = randomUUID.ReplaceAllStringFunc(s, func(id string) string { return n.call("uuid", id) })
	}
	s = strings.ReplaceAll(s, n.prefix, "")
	s = strings.ReplaceAll(s, fmt.Sprint(":", n.port), ":<port>")
	if !utf8.ValidString(s) {
		return "hex " + hex.EncodeToString([]byte(s))
	}
	return s
}

// blob shows bytes; record batches by their headers.
func (n *normaliser) blob(field string, v reflect.Value) any {
	b := v.Bytes()
	if v.IsNil() {
		return nil
	}
	if field != "RecordBatches" {
		return "hex " + hex.EncodeToString(b)
	}
	return records(b)
}

// find is a field of a reply, for what a later request must repeat.
func find[T any](list []T, is func(T) bool) (zero T) {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i]
	}
	return zero
}
