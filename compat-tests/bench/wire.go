package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire is a connection with one request under way at a time, as a consumer has one to
// its coordinator. It costs little, so that one process can keep a broker busy with
// hundreds of them. One goroutine uses it.
type wire struct {
	conn net.Conn
	sent int32 // requests so far
	buf  []byte
}

// answerLimit is how long an answer may take.
const answerLimit = 60 * time.Second

// versions of requests are those that a Java consumer of Kafka 3.9 uses.
var versions = map[kmsg.Key]int16{
	kmsg.ApiVersions: 4, kmsg.FindCoordinator: 6, kmsg.JoinGroup: 9, kmsg.SyncGroup: 5, kmsg.Heartbeat: 4, kmsg.LeaveGroup: 5,
	kmsg.OffsetCommit: 9, kmsg.OffsetFetch: 9,
}

// dial opens a connection and asks for the broker's versions, as every client does
// first.
func dial(addr string) (*wire, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &wire{conn: conn}
	request := kmsg.NewPtrApiVersionsRequest()
	request.ClientSoftwareName, request.ClientSoftwareVersion = "bench", "1"
	if _, err := w.ask(request); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return w, nil
}

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench"))

// ask sends a request and returns its answer.
func (w *wire) ask(request kmsg.Request) (kmsg.Response, error) {
	key := kmsg.Key(request.Key())
	request.SetVersion(versions[key])
	w.sent++
	w.buf = formatter.AppendRequest(w.buf[:0], request, w.sent)
	if err := w.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return nil, err
	}
	if _, err := w.conn.Write(w.buf); err != nil {
		return nil, err
	}
	if err := w.read(); err != nil {
		return nil, fmt.Errorf("the answer to %s: %w", key.Name(), err)
	}
	response := request.ResponseKind()
	response.SetVersion(request.GetVersion())
	header := 4
	if response.IsFlexible() && key != kmsg.ApiVersions {
		header++ // no tags
	}
	if len(w.buf) < header || binary.BigEndian.Uint32(w.buf) != uint32(w.sent) {
		return nil, fmt.Errorf("the answer to %s is not to the request that was sent", key.Name())
	}
	return response, response.ReadFrom(w.buf[header:])
}

// read reads a frame.
func (w *wire) read() error {
	w.buf = append(w.buf[:0], 0, 0, 0, 0)
	if _, err := io.ReadFull(w.conn, w.buf); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(w.buf))
	w.buf = slices.Grow(w.buf[:0], size)[:size]
	_, err := io.ReadFull(w.conn, w.buf)
	return err
}

func (w *wire) close() error { return w.conn.Close() }
