package hostile

import (
	"encoding/binary"
	"fmt"
	"iter"
	"reflect"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// frameLimit is what a frame of a client may have if it is no Produce.
const frameLimit = 1 << 20

// maxElements is how many elements the broker takes in one request.
const maxElements = 50_000

// naming is what stands in the strings of a frame that is made large.
type naming int

const (
	empty    naming = iota // the smallest elements there are
	distinct               // short names that do not repeat and that nobody has used
	existing               // the topic, or the broker, that the test has, again and again
	tagged                 // empty, and in each structure a tagged field that nobody knows
	namings
)

func (n naming) String() string { return [...]string{"empty", "distinct", "existing", "tagged"}[n] }

// A largeFrame is one array of a request, filled up to the limit of a frame.
type largeFrame struct {
	name  string
	bytes []byte // with the size before it
	taken bool   // it has no more elements than the broker takes
}

// largeFrames are, for one version of a request, frames in each of which another
// of its arrays, nested ones included, has as many elements as the broker takes, and
// as a frame holds. It follows from the request's structure alone.
func largeFrames(key, version int16, topic string) iter.Seq[largeFrame] {
	return func(yield func(largeFrame) bool) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			return
		}
		req.SetVersion(version)
		for _, path := range arrays(reflect.TypeOf(req).Elem(), nil) {
			for n := range namings {
				if n == tagged && !req.IsFlexible() {
					continue
				}
				g := generator{key: key, version: version, naming: n, topic: topic}
				full := g.room(path)
				if full == 0 {
					continue // the version does not have it, or none of its elements takes space
				}
				name := fmt.Sprintf("%s v%d %s %v", kmsg.NameForKey(key), version, pathName(reflect.TypeOf(req).Elem(), path), n)
				if !yield(largeFrame{name, g.encode(path, min(full, maxElements-1000)), true}) {
					return
				}
				if full > maxElements && !yield(largeFrame{name + ", too many", g.encode(path, full), false}) {
					return
				}
			}
		}
	}
}

// arrays finds the fields of a type that are arrays, as paths of field indexes.
func arrays(t reflect.Type, above []int) (paths [][]int) {
	for i := range t.NumField() {
		f := t.Field(i)
		path := append(append([]int{}, above...), i)
		element := f.Type
		if element.Kind() == reflect.Slice {
			if element = element.Elem(); element.Kind() == reflect.Uint8 {
				continue // bytes: no more than what they are
			}
			paths = append(paths, path)
		}
		if element.Kind() == reflect.Struct && f.Name != "UnknownTags" {
			paths = append(paths, arrays(element, path)...)
		}
	}
	return paths
}

func pathName(t reflect.Type, path []int) (name string) {
	for _, i := range path {
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		name += "." + t.Field(i).Name
		t = t.Field(i).Type
	}
	return name[1:]
}

type generator struct {
	key, version int16
	naming       naming
	topic        string
	names        int // given out
}

// room is how many elements the array at path can have in a frame.
func (g *generator) room(path []int) int {
	size := func(n int) int { return len(g.encode(path, n)) }
	one, many := size(1), size(1001)
	each := (many - one) / 1000
	if each == 0 {
		return 0
	}
	// Names grow and varints too; 1% is left for that.
	return (frameLimit - one) / (each + 1) * 99 / 100
}

func (g *generator) encode(path []int, n int) []byte {
	g.names = 0
	req := kmsg.RequestForKey(g.key)
	req.SetVersion(g.version)
	v := reflect.ValueOf(req).Elem()
	g.set(v, path, n)
	v.FieldByName("Version").SetInt(int64(g.version))
	if f := v.FieldByName("ValidateOnly"); f.IsValid() {
		f.SetBool(true) // what is written is another test's
	}
	return frame(req)
}

// set fills the fields of a structure; path leads to the array that is to have n
// elements, other arrays on the way to it get one.
func (g *generator) set(v reflect.Value, path []int, n int) {
	if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
		d.Default()
	}
	t := v.Type()
	for i := range t.NumField() {
		f := v.Field(i)
		switch name := t.Field(i).Name; {
		case name == "UnknownTags":
			if g.naming == tagged {
				f.Addr().Interface().(*kmsg.Tags).Set(100, nil)
			}
		case len(path) > 0 && path[0] == i && f.Kind() == reflect.Slice:
			count := 1
			if len(path) == 1 {
				count = n
			}
			f.Set(reflect.MakeSlice(f.Type(), count, count))
			for e := range count {
				g.value(name, f.Index(e), path[1:], n)
			}
		case len(path) > 0 && path[0] == i:
			g.set(f, path[1:], n)
		default:
			g.value(name, f, nil, 0)
		}
	}
}

func (g *generator) value(field string, v reflect.Value, path []int, n int) {
	switch v.Kind() {
	case reflect.Struct:
		g.set(v, path, n)
	case reflect.String:
		v.SetString(g.text(field))
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.String && g.naming != empty && g.naming != tagged {
			s := g.text(field)
			v.Set(reflect.ValueOf(&s))
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Array: // a topic id
		if g.naming == distinct {
			g.names++
			binary.BigEndian.PutUint64(v.Slice(0, 8).Bytes(), uint64(g.names))
		}
	case reflect.Int8:
		if field == "ResourceType" {
			v.SetInt(2)
			if g.naming == existing {
				v.SetInt(4)
			}
		}
	case reflect.Int32:
		switch field {
		case "SessionEpoch", "ReplicaID":
			v.SetInt(-1)
		case "MaxBytes":
			v.SetInt(1 << 20)
		case "Partition", "Partitions":
			if g.naming == distinct {
				g.names++
				v.SetInt(int64(g.names))
			}
		case "NumPartitions", "Count":
			v.SetInt(1)
		case "TimeoutMillis":
			v.SetInt(100)
		}
	case reflect.Int16:
		if field == "ReplicationFactor" || field == "Acks" {
			v.SetInt(1)
		}
	}
}

func (g *generator) text(field string) string {
	switch g.naming {
	case distinct:
		g.names++
		return strconv.FormatInt(int64(g.names)+36*36, 36)
	case existing:
		if field == "ResourceName" {
			return "1"
		}
		return g.topic
	}
	return ""
}

// frame is a request with its header and size.
func frame(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hostile")).AppendRequest(nil, req, 1)
}
