package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/nowait"
	"github.com/gracchus-mq/gracchus/protocol"
)

const (
	// maxResponse bounds a leader's response. It may be larger than
	// replica.fetch.response.max.bytes by one batch.
	maxResponse = 1 << 30
	// keptResponse is how large a buffer is kept while nothing comes.
	keptResponse = 64 << 10
)

// line is a fetcher's connection to its leader: one request at a time, and
// buffers that are used again and again. It belongs to one goroutine.
type line struct {
	clientID string
	timeout  time.Duration // replica.socket.timeout.ms

	conn    net.Conn // nil while there is none
	id      int32
	out, in []byte
}

func (l *line) open(conn net.Conn) { l.conn = nowait.Wrap(conn) }

func (l *line) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
	l.out, l.in = nil, nil
}

// ask sends a request and decodes its response into resp, whose byte slices are
// valid until the next call. patience is how long the broker may take on purpose.
// After an error the connection is of no use any more.
func (l *line) ask(ctx context.Context, req kmsg.Request, resp kmsg.Response, patience time.Duration) error {
	conn := l.conn
	conn.SetDeadline(time.Now().Add(patience + l.timeout))
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	l.id = (l.id + 1) & 0x7fffffff
	l.out = protocol.EncodeRequest(l.out[:0], l.id, l.clientID, req)
	if _, err := conn.Write(l.out); err != nil {
		return err
	}
	if cap(l.in) > keptResponse && len(l.in) <= keptResponse {
		l.in = nil // the last response was small
	}
	var err error
	if l.in, err = protocol.ReadFrame(conn, maxResponse, l.in); err != nil {
		return err
	}
	return l.decode(req, resp)
}

func (l *line) decode(req kmsg.Request, resp kmsg.Response) error {
	name := protocol.APIKey(req.Key())
	header := 4
	if req.IsFlexible() {
		header++ // no tagged fields
	}
	if len(l.in) < header || int32(binary.BigEndian.Uint32(l.in)) != l.id || req.IsFlexible() && l.in[4] != 0 {
		return fmt.Errorf("the response to %v has a wrong header", name)
	}
	if err := resp.ReadFrom(l.in[header:]); err != nil {
		return fmt.Errorf("the response to %v cannot be read: %w", name, err)
	}
	return nil
}
