// Package traffic has what real clients, brokers and ZooKeeper servers said to each
// other, for tests to decode and for fuzz targets to start from.
//
// scripts/record-traffic records it, with Apache Kafka 3.9.2 as the broker. Each
// file of testdata is of one test of compat-tests, whose name tells the client; a
// line is a frame, in base64, behind what it is.
package traffic

import (
	"embed"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"path"
	"strings"
	"testing"
)

//go:embed testdata
var files embed.FS

// Frame is one that passed between a client and a broker.
type Frame struct {
	Origin       string // file and kind, to name it in failures
	Reply        bool   // the broker's
	Key, Version int16  // of the request; a reply does not say it
	Bytes        []byte // without the size before it
}

// Kafka returns the frames between clients and brokers, among them those that
// brokers sent to each other. The bytes are the caller's.
func Kafka(t testing.TB) []Frame {
	t.Helper()
	var frames []Frame
	each(t, "kafka", func(origin string, frame []byte) error {
		f := Frame{Origin: origin, Bytes: frame}
		var direction string
		_, kind, _ := strings.Cut(origin, ": ")
		if _, err := fmt.Sscanf(kind, "%s %d v%d", &direction, &f.Key, &f.Version); err != nil {
			return err
		}
		f.Reply = direction == "reply"
		frames = append(frames, f)
		return nil
	})
	return frames
}

// Requests returns those of Kafka that are requests of a key.
func Requests(t testing.TB, key int16) []Frame {
	t.Helper()
	return some(Kafka(t), func(f Frame) bool { return !f.Reply && f.Key == key })
}

// Replies returns those of Kafka that are replies to requests of a key.
func Replies(t testing.TB, key int16) []Frame {
	t.Helper()
	return some(Kafka(t), func(f Frame) bool { return f.Reply && f.Key == key })
}

func some(frames []Frame, wanted func(Frame) bool) []Frame {
	var chosen []Frame
	for _, f := range frames {
		if wanted(f) {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// ZooKeeperFrame is one that passed between a broker and a ZooKeeper server.
type ZooKeeperFrame struct {
	Origin string // file and kind, to name it in failures
	Reply  bool   // the server's
	Op     int32  // of the request, also for its reply; -1 for both frames that connect
	Event  bool   // a reply to no request; Op is 0
	Bytes  []byte // without the size before it
}

// ZooKeeper returns the frames between brokers and ZooKeeper servers. The bytes are
// the caller's.
func ZooKeeper(t testing.TB) []ZooKeeperFrame {
	t.Helper()
	var frames []ZooKeeperFrame
	each(t, "zookeeper", func(origin string, frame []byte) error {
		_, kind, _ := strings.Cut(origin, ": ")
		direction, of, _ := strings.Cut(kind, " ")
		of, _, _ = strings.Cut(of, ",")
		f := ZooKeeperFrame{Origin: origin, Reply: direction == "reply", Bytes: frame}
		switch of {
		case "connect":
			f.Op = -1
		case "event":
			f.Event = true
		default:
			if _, err := fmt.Sscanf(of, "%d", &f.Op); err != nil {
				return err
			}
		}
		frames = append(frames, f)
		return nil
	})
	return frames
}

// Sized returns a frame as it is on the wire, behind its size.
func Sized(frame []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

// each calls add with each frame of a folder. The test fails if there is none.
func each(t testing.TB, folder string, add func(origin string, frame []byte) error) {
	t.Helper()
	dir := path.Join("testdata", folder)
	entries, err := files.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range entries {
		text, err := files.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			kind, encoded, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if !ok || strings.HasPrefix(line, "#") {
				continue
			}
			origin := e.Name() + ": " + kind
			frame, err := base64.StdEncoding.DecodeString(encoded)
			if err == nil {
				err = add(origin, frame)
			}
			if err != nil {
				t.Fatalf("%s: %v", origin, err)
			}
			found = true
		}
	}
	if !found {
		t.Fatalf("no frames in %s", dir)
	}
}
