package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// For consumers the floor is a server with one partition, whose segments a broker has
// written: a real consumer reads them. It knows where the batches are, and answers what a
// client asks before it fetches; a fetch is a read, a small send, and sendfile. Each
// connection has a thread, which blocks in them.

// floorLog is the partition that the floor serves.
type floorLog struct {
	topic   string
	files   []*os.File
	batches []floorBatch // by offset
}

type floorBatch struct {
	last int64 // offset
	file int
	at   int64
	size int
}

// openFloorLog reads where the batches of a partition's folder are.
func openFloorLog(topic, folder string) (*floorLog, error) {
	segments, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil || len(segments) == 0 {
		return nil, errors.Join(err, fmt.Errorf("there are no segments in %s", folder))
	}
	slices.Sort(segments)
	l := &floorLog{topic: topic}
	for i, name := range segments {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, file)
		const upToLength, upToLastDelta = 12, 27
		header := make([]byte, upToLastDelta)
		for at := int64(0); ; {
			if _, err := file.ReadAt(header, at); err == io.EOF {
				break
			} else if err != nil {
				return nil, err
			}
			size := upToLength + int(binary.BigEndian.Uint32(header[8:]))
			if size <= upToLastDelta { // the rest is set aside for more
				break
			}
			last := int64(binary.BigEndian.Uint64(header)) + int64(binary.BigEndian.Uint32(header[23:]))
			l.batches = append(l.batches, floorBatch{last, i, at, size})
			at += int64(size)
		}
	}
	return l, nil
}

func (l *floorLog) close() {
	for _, f := range l.files {
		f.Close()
	}
}

// from returns the batches from the one that holds the offset, one at least and as many of
// its file as limit allows. There are none at the end.
func (l *floorLog) from(offset int64, limit int) (file *os.File, at int64, n int) {
	first, _ := slices.BinarySearchFunc(l.batches, offset, func(b floorBatch, offset int64) int {
		if b.last < offset {
			return -1
		}
		return 1
	})
	for i := first; i < len(l.batches) && l.batches[i].file == l.batches[first].file; i++ {
		if i > first && n+l.batches[i].size > limit {
			break
		}
		n += l.batches[i].size
	}
	if n == 0 {
		return nil, 0, 0
	}
	b := l.batches[first]
	return l.files[b.file], b.at, n
}

// end is the offset behind the last record.
func (l *floorLog) end() int64 {
	if len(l.batches) == 0 {
		return 0
	}
	return l.batches[len(l.batches)-1].last + 1
}

// floorConsumers serves the log to whoever connects.
type floorConsumers struct {
	listener net.Listener
	log      atomic.Pointer[floorLog]
}

func (c *floorConsumers) accept() error {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return err
		}
		socket, err := blocking(conn)
		if err != nil {
			return err
		}
		go func() {
			runtime.LockOSThread()
			defer socket.Close()
			if err := c.serve(int(socket.Fd())); err != nil && !gone(err) {
				fmt.Fprintln(os.Stderr, "floor:", err)
				os.Exit(1)
			}
		}()
	}
}

// gone reports whether an error says that the client has closed the connection.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}

func (c *floorConsumers) serve(socket int) error {
	frame, out := make([]byte, 64<<10), make([]byte, 0, 1<<10)
	for {
		if err := readFull(socket, frame[:4]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(frame))
		if n > len(frame) {
			return fmt.Errorf("a request of %d bytes is more than %d", n, len(frame))
		}
		if err := readFull(socket, frame[:n]); err != nil {
			return err
		}
		req, correlation, err := parseRequest(frame[:n])
		if err != nil {
			return err
		}
		out = binary.BigEndian.AppendUint32(append(out[:0], 0, 0, 0, 0), correlation)
		if fetch, is := req.(*kmsg.FetchRequest); is {
			err = c.fetch(socket, fetch, out)
		} else {
			err = c.answer(socket, req, out)
		}
		if err != nil {
			return err
		}
	}
}

// parseRequest parses a request of a version without flexible fields, or ApiVersions.
func parseRequest(frame []byte) (kmsg.Request, uint32, error) {
	const upToClientID = 10
	if len(frame) < upToClientID {
		return nil, 0, io.ErrUnexpectedEOF
	}
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	body := frame[upToClientID:]
	if n := int16(binary.BigEndian.Uint16(frame[8:])); n > 0 {
		body = body[min(int(n), len(body)):]
	}
	req := kmsg.RequestForKey(key)
	if req == nil {
		return nil, 0, fmt.Errorf("request with key %d", key)
	}
	if req.SetVersion(version); req.IsFlexible() && len(body) > 0 {
		body = body[1:] // no tags
	}
	return req, binary.BigEndian.Uint32(frame[4:]), req.ReadFrom(body)
}

// served is what clients are told that they may send: what they need, in the last versions
// that end with the records.
var served = map[kmsg.Key]int16{kmsg.Fetch: 11, kmsg.ListOffsets: 5, kmsg.Metadata: 8, kmsg.ApiVersions: 2}

// answer answers everything but a fetch.
func (c *floorConsumers) answer(socket int, req kmsg.Request, out []byte) error {
	l := c.log.Load()
	response := req.ResponseKind()
	switch r := response.(type) {
	case *kmsg.ApiVersionsResponse:
		const unsupportedVersion = 35
		if r.Version > served[kmsg.ApiVersions] { // the client asks again
			r.Version, r.ErrorCode = 0, unsupportedVersion
		}
		for key, last := range served {
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: key.Int16(), MaxVersion: last})
		}
	case *kmsg.MetadataResponse:
		at := c.listener.Addr().(*net.TCPAddr)
		r.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: at.IP.String(), Port: int32(at.Port)}}
		r.ControllerID = 1
		r.Topics = []kmsg.MetadataResponseTopic{{Topic: &l.topic, Partitions: []kmsg.MetadataResponseTopicPartition{{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}}}}
	case *kmsg.ListOffsetsResponse:
		for _, t := range req.(*kmsg.ListOffsetsRequest).Topics {
			of := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				one := kmsg.NewListOffsetsResponseTopicPartition()
				const latest = -1
				if one.Partition, one.Offset = p.Partition, 0; p.Timestamp == latest {
					one.Offset = l.end()
				}
				of.Partitions = append(of.Partitions, one)
			}
			r.Topics = append(r.Topics, of)
		}
	default:
		return fmt.Errorf("request with key %d", req.Key())
	}
	return send(socket, sized(response.AppendTo(out), 0), 0)
}

// fetch sends records. At the end it sends nothing: the client has what it came for.
func (c *floorConsumers) fetch(socket int, req *kmsg.FetchRequest, out []byte) error {
	if len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 {
		return errors.New("a fetch of other than one partition")
	}
	l, want := c.log.Load(), req.Topics[0].Partitions[0]
	file, at, n := l.from(want.FetchOffset, int(want.PartitionMaxBytes))
	if n == 0 {
		return nil
	}
	p := kmsg.NewFetchResponseTopicPartition()
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = l.end(), l.end(), 0
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	resp.Topics = []kmsg.FetchResponseTopic{{Topic: req.Topics[0].Topic, Partitions: []kmsg.FetchResponseTopicPartition{p}}}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out[len(out)-4:], uint32(n)) // the records come behind it
	if err := send(socket, sized(out, n), unix.MSG_MORE); err != nil {
		return err
	}
	return sendFile(socket, int(file.Fd()), at, n)
}

// sized writes the size of a frame, of which more bytes follow, into its first four.
func sized(frame []byte, more int) []byte {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4+more))
	return frame
}
