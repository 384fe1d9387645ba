package storage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseMeta(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Meta
	}{
		{"all fields", "version=0\nbroker.id=7\ncluster.id=abc\ndirectory.id=xyz\n", Meta{7, "abc", "xyz"}},
		{"nothing", "", noMeta},
		{"no version means 0", "broker.id=7\n", Meta{BrokerID: 7}},
		{"as Java allows it", "# c\n! c\n version : 0\nbroker.id 7\ncluster.id=a\\\n  b\n", Meta{7, "ab", ""}},
		{"no expansion", "cluster.id=${HOME}\n", Meta{-1, "${HOME}", ""}},
	} {
		if got, err := parseMeta([]byte(c.text)); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	for name, text := range map[string]string{
		"KRaft's version":        "version=1\nnode.id=1\ncluster.id=x\n",
		"version is no number":   "version=zero\n",
		"broker id is no number": "broker.id=one\n",
		"negative broker id":     "broker.id=-2\n",
		"broken escape":          "cluster.id=\\u12\n",
	} {
		if got, err := parseMeta([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func TestMetaOfKafka(t *testing.T) {
	files, err := filepath.Glob("testdata/kafka-3.9.2/*/*/meta.properties")
	if err != nil || len(files) != 4 {
		t.Fatalf("found %d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseMeta(want)
		if err != nil || m != (Meta{BrokerID: 1, ClusterID: "k8Do4LTRRAWNP-z6Fw9KPA"}) {
			t.Errorf("%s: %+v, %v", file, m, err)
		}
		date, err := time.Parse("#Mon Jan 02 15:04:05 MST 2006", strings.Split(string(want), "\n")[1])
		if err != nil {
			t.Fatal(err)
		}
		if got := m.encode(date); string(got) != string(want) {
			t.Errorf("wrote\n%swhere Kafka wrote\n%s", got, want)
		}
	}
}

func TestMetaRoundTrip(t *testing.T) {
	for _, m := range []Meta{
		{},
		{3, "k8Do4LTRRAWNP-z6Fw9KPA", "Tr_0WcSXR2GUBVXYYfTW_A"},
		{2147483647, ` a=b:c#d!e\f`, ""},
		{1, "tab\there, line\nthere", "é ü 漢"},
		{0, "", "only a directory"},
	} {
		got, err := parseMeta(m.encode(time.Now()))
		if err != nil || got != m {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
	}
}

// addKafkas seeds a target with all files of that name that a real Kafka wrote.
func addKafkas(f *testing.F, name string) {
	f.Helper()
	files, err := filepath.Glob("testdata/*/*/*/" + name)
	more, err2 := filepath.Glob("testdata/*/" + name)
	if files = append(files, more...); err != nil || err2 != nil || len(files) == 0 {
		f.Fatalf("no file of a real Kafka is named %s: %v, %v", name, err, err2)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func FuzzParseMeta(f *testing.F) {
	addKafkas(f, metaFile)
	f.Add([]byte("#\n#Mon Nov 23 15:12:34 UTC 2026\nbroker.id=1\nversion=0\ncluster.id=k8Do4LTRRAWNP-z6Fw9KPA\n"))
	f.Add([]byte("version=1\nnode.id=1\n"))
	f.Add([]byte("cluster.id=\\u00e9\\\n x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMeta(data)
		if err != nil {
			return
		}
		if strings.ContainsFunc(m.ClusterID+m.DirectoryID, func(r rune) bool { return r == utf8.RuneError || r > 0xffff }) {
			return // half of a surrogate pair, or a whole one: no id has those
		}
		again, err := parseMeta(m.encode(time.Unix(0, 0)))
		if err != nil || again != m {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
