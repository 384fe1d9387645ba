package differential

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

var (
	record  = flag.Bool("record", false, "start a Kafka 3.9.2 and record its replies in testdata, instead of comparing")
	live    = flag.Bool("live", false, "compare with a Kafka 3.9.2 that is started, instead of with recorded replies")
	oursAt  = flag.String("gracchus", "", "host:port of a broker of ours that runs already, and began with the old segments")
	kafkaAt = flag.String("kafka", "", "host:port of a Kafka 3.9.2 that runs already, for -record and -live; it began with the old segments")
	verbose = flag.Bool("show", false, "show every reply")
)

// An api is the cases of one API key.
type api struct {
	key   int16
	name  string // of the file in testdata
	cases []spec
}

// A spec is a case: a conversation that is held in every version from from to to
// (0: no bound).
type spec struct {
	name     string
	from, to int16
	run      func(c *conversation)
}

// A transcript is what came back in one case, for all versions in which it was
// the same.
type transcript struct {
	Case     string            `json:"case"`
	Versions []int16           `json:"versions"`
	Replies  []json.RawMessage `json:"replies"`
}

func TestMain(m *testing.M) {
	code := m.Run()
	harness.StopShared()
	os.Exit(code)
}

// properties of both brokers.
var properties = []string{
	"max.incremental.fetch.session.cache.slots=10000",
	"log.retention.ms=-1", // the records are of long ago
	"message.max.bytes=100000",
}

func ours(t *testing.T) *target {
	if *oursAt != "" {
		return &target{name: "Gracchus", addr: *oursAt}
	}
	b := harness.StartGracchus(t, harness.Options{Dirs: []string{oldSegments(t)}, Properties: properties})
	return &target{name: "Gracchus", addr: b.Addr}
}

func kafka(t *testing.T) *target {
	if *kafkaAt != "" {
		return &target{name: "Kafka", addr: *kafkaAt}
	}
	b := harness.StartKafka(t, harness.Options{ZooKeeper: harness.ZooKeeper(t), Dirs: []string{oldSegments(t)}, Properties: properties})
	return &target{name: "Kafka", addr: b.Addr}
}

// warm has a broker hand out its first producer id, 0, which replies leave out.
func (b *target) warm(t *testing.T) {
	t.Helper()
	c := b.converse(t, 22, 0, "")
	defer c.close()
	for c.quietly(kmsg.NewPtrInitProducerIDRequest()).(*kmsg.InitProducerIDResponse).ErrorCode != 0 {
		wait()
	}
}

// TestReplies asks what Kafka was asked and compares.
func TestReplies(t *testing.T) {
	run := fmt.Sprintf("%06x", rand.Uint32()&0xffffff)
	if *record {
		k := kafka(t)
		k.warm(t)
		versions := advertised(t, k)
		for _, a := range apis() {
			t.Run(a.name, func(t *testing.T) { write(t, a, k.all(t, a, versions, run)) })
		}
		return
	}
	o := ours(t)
	o.warm(t)
	versions := advertised(t, o)
	var k *target
	if *live {
		k = kafka(t)
		k.warm(t)
	}
	t.Run("every version has a case", func(t *testing.T) {
		for _, what := range missing(versions, apis()) {
			t.Errorf("%s is advertised and has no case", what)
		}
	})
	var compared []string
	for _, a := range apis() {
		t.Run(a.name, func(t *testing.T) {
			compared = append(compared, a.name)
			var want map[string]map[int16][]json.RawMessage
			if *live {
				want = k.all(t, a, versions, run)
			} else {
				want = read(t, a)
			}
			compare(t, a, want, o.all(t, a, versions, run))
		})
	}
	for _, d := range unused(compared) {
		t.Errorf("there is no such difference: %+v", d)
	}
}

// advertised are the versions of each key that a broker says it serves.
func advertised(t *testing.T, b *target) map[int16][2]int16 {
	t.Helper()
	c := b.converse(t, 18, 0, "")
	defer c.close()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "differential", "1"
	resp := c.quietly(req).(*kmsg.ApiVersionsResponse)
	if len(resp.ApiKeys) == 0 {
		t.Fatalf("%s advertises nothing: error code %d", b.name, resp.ErrorCode)
	}
	versions := map[int16][2]int16{}
	for _, k := range resp.ApiKeys {
		versions[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	return versions
}

// missing names every version of a key that is advertised, which is what the
// broker's table of routes has, and has no case.
func missing(versions map[int16][2]int16, all []api) []string {
	cases := map[int16][]spec{}
	for _, a := range all {
		cases[a.key] = a.cases
	}
	var out []string
	for key, r := range versions {
		for v := r[0]; v <= r[1]; v++ {
			if !slices.ContainsFunc(cases[key], func(s spec) bool { return s.has(v) }) {
				out = append(out, fmt.Sprintf("%s version %d", kmsg.NameForKey(key), v))
			}
		}
	}
	slices.Sort(out)
	return out
}

func (s spec) has(v int16) bool { return v >= s.from && (s.to == 0 || v <= s.to) }

var counter int

func (b *target) converse(t *testing.T, key, version int16, run string) *conversation {
	_, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	number, _ := strconv.Atoi(port)
	counter++
	prefix := fmt.Sprintf("q%s%05d-", run, counter)
	return &conversation{t: t, target: b, key: key, version: version, prefix: prefix,
		norm: &normaliser{prefix: prefix, port: int32(number), seen: map[string]map[any]string{}, dir: func(string) string { return "<dir>" }}}
}

// all holds every conversation of an API.
func (b *target) all(t *testing.T, a api, versions map[int16][2]int16, run string) map[string]map[int16][]json.RawMessage {
	out := map[string]map[int16][]json.RawMessage{}
	for _, s := range a.cases {
		out[s.name] = map[int16][]json.RawMessage{}
		for v := versions[a.key][0]; v <= versions[a.key][1]; v++ {
			if !s.has(v) {
				continue
			}
			c := b.converse(t, a.key, v, run)
			s.run(c)
			c.close()
			lines := []json.RawMessage{}
			for _, r := range c.replies {
				lines = append(lines, json.RawMessage(text(r)))
			}
			if *verbose {
				t.Logf("%s: %s, version %d:\n%s", b.name, s.name, v, join(lines))
			}
			out[s.name][v] = lines
		}
	}
	return out
}

func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

func join(lines []json.RawMessage) string {
	var b strings.Builder
	for _, l := range lines {
		b.Write(l)
		b.WriteByte('\n')
	}
	return b.String()
}

// compare fails for every field that differs.
func compare(t *testing.T, a api, want, got map[string]map[int16][]json.RawMessage) {
	differing := map[string][]int16{} // by what is said of it
	var order []string
	say := func(v int16, format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		if differing[s] == nil {
			order = append(order, s)
		}
		differing[s] = append(differing[s], v)
	}
	for _, s := range a.cases {
		for v, lines := range got[s.name] {
			expected, ok := want[s.name][v]
			if !ok {
				say(v, "%s: Kafka's replies are not recorded", s.name)
				continue
			}
			for i := range max(len(lines), len(expected)) {
				w, g := map[string]string{}, map[string]string{}
				if i < len(expected) {
					flatten("", expected[i], w)
				}
				if i < len(lines) {
					flatten("", lines[i], g)
				}
				if (w["{}"] == "") != (g["{}"] == "") { // one is a reply, the other none
					was, is := "nothing", "nothing"
					if i < len(expected) {
						was = string(expected[i])
					}
					if i < len(lines) {
						is = string(lines[i])
					}
					w, g = map[string]string{"it": was}, map[string]string{"it": is}
				}
				for _, path := range keys(w, g) {
					if w[path] != g[path] && !excused(a, s, v, i+1, path) {
						say(v, "%s, reply %d: %s is %s, with Kafka %s", s.name, i+1, path, or(g[path]), or(w[path]))
					}
				}
			}
		}
	}
	for name, replies := range want { // a case that was renamed would be compared with nothing
		if !slices.ContainsFunc(a.cases, func(s spec) bool { return s.name == name }) && len(replies) > 0 {
			t.Errorf("%s: recorded, but no case", name)
		}
	}
	for _, s := range order {
		slices.Sort(differing[s])
		t.Errorf("version %s: %s", span(differing[s]), s)
	}
}

// span spells ascending versions, e.g. "0-3,5".
func span(versions []int16) string {
	var out []string
	for i := 0; i < len(versions); {
		j := i
		for j+1 < len(versions) && versions[j+1] == versions[j]+1 {
			j++
		}
		if i == j {
			out = append(out, fmt.Sprint(versions[i]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", versions[i], versions[j]))
		}
		i = j + 1
	}
	return strings.Join(out, ",")
}

func or(s string) string {
	if s == "" {
		return "not there"
	}
	return s
}

func keys(maps ...map[string]string) []string {
	all := map[string]bool{}
	for _, m := range maps {
		for k := range m {
			all[k] = true
		}
	}
	var out []string
	for k := range all {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// flatten spells a JSON value as paths and what is there.
func flatten(path string, raw json.RawMessage, into map[string]string) {
	var object map[string]json.RawMessage
	var array []json.RawMessage
	switch {
	case raw[0] == '{' && json.Unmarshal(raw, &object) == nil:
		into[path+"{}"] = "an object"
		for k, v := range object {
			flatten(strings.TrimPrefix(path+"."+k, "."), v, into)
		}
	case raw[0] == '[' && json.Unmarshal(raw, &array) == nil:
		into[path+"#"] = strconv.Itoa(len(array))
		for i, v := range array {
			flatten(fmt.Sprintf("%s[%d]", path, i), v, into)
		}
	default:
		into[path] = string(raw)
	}
}

func file(a api) string { return filepath.Join("testdata", a.name+".json") }

// write records replies, versions in which they are the same together.
func write(t *testing.T, a api, all map[string]map[int16][]json.RawMessage) {
	var b bytes.Buffer
	for _, s := range a.cases {
		var groups []*transcript
		for v := int16(0); v < 64; v++ {
			lines, ok := all[s.name][v]
			if !ok {
				continue
			}
			i := slices.IndexFunc(groups, func(g *transcript) bool { return join(g.Replies) == join(lines) })
			if i < 0 {
				i = len(groups)
				groups = append(groups, &transcript{Case: s.name, Replies: lines})
			}
			groups[i].Versions = append(groups[i].Versions, v)
		}
		for _, g := range groups {
			fmt.Fprintf(&b, "{\"case\":%s,\"versions\":%s,\"replies\":[", text(g.Case), text(g.Versions))
			for i, r := range g.Replies {
				if i > 0 {
					b.WriteByte(',')
				}
				b.WriteString("\n ")
				b.Write(r)
			}
			b.WriteString("]}\n")
		}
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file(a), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, a api) map[string]map[int16][]json.RawMessage {
	t.Helper()
	raw, err := os.ReadFile(file(a))
	if err != nil {
		t.Fatalf("Kafka's replies are not recorded: %v", err)
	}
	out := map[string]map[int16][]json.RawMessage{}
	for d := json.NewDecoder(bytes.NewReader(raw)); d.More(); {
		var s transcript
		if err := d.Decode(&s); err != nil {
			t.Fatalf("%s: %v", file(a), err)
		}
		if out[s.Case] == nil {
			out[s.Case] = map[int16][]json.RawMessage{}
		}
		for _, v := range s.Versions {
			out[s.Case][v] = s.Replies
		}
	}
	return out
}
