package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// For real clients the floor is a server with one partition. It answers what they ask
// before they fetch or produce. Each connection has a thread, which blocks in reads and sends.

// floorPartition is the partition that is served.
type floorPartition interface {
	end() int64
	// fetch sends the records that a request of this one partition asks for, now or later.
	fetch(r floorRequest, req *kmsg.FetchRequest) error
	// produce takes a batch, which it may change, and returns the first of its offsets.
	produce(batch []byte) (int64, error)
	close()
}

// servedPartition has its name.
type servedPartition struct {
	floorPartition
	topic string
}

// floorServer serves the partition to whoever connects.
type floorServer struct {
	listener  net.Listener
	partition atomic.Pointer[servedPartition]
}

// put has a partition served in place of the one before.
func (s *floorServer) put(topic string, p floorPartition) {
	if before := s.partition.Swap(&servedPartition{p, topic}); before != nil {
		before.close()
	}
}

// floorRequest is where an answer goes.
type floorRequest struct {
	socket      int
	correlation uint32
}

// begin is what each answer begins with: room for its size, and whose it is.
func (r floorRequest) begin(room int) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 4, room), r.correlation)
}

// beforeRecords is the answer to a fetch up to its records, of which n bytes follow.
func (r floorRequest) beforeRecords(req *kmsg.FetchRequest, end int64, n int) []byte {
	p := kmsg.NewFetchResponseTopicPartition()
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = end, end, 0
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	resp.Topics = []kmsg.FetchResponseTopic{{Topic: req.Topics[0].Topic, Partitions: []kmsg.FetchResponseTopicPartition{p}}}
	out := resp.AppendTo(r.begin(2 << 10))
	binary.BigEndian.PutUint32(out[len(out)-4:], uint32(n))
	return sized(out, n)
}

func (s *floorServer) accept() error {
	for {
		conn, err := s.listener.Accept()
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
			if err := s.serve(int(socket.Fd())); err != nil && !gone(err) {
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

func (s *floorServer) serve(socket int) error {
	frame := make([]byte, 64<<10)
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
		r := floorRequest{socket, correlation}
		if fetch, is := req.(*kmsg.FetchRequest); is {
			if len(fetch.Topics) != 1 || len(fetch.Topics[0].Partitions) != 1 {
				return errors.New("a fetch of other than one partition")
			}
			err = s.partition.Load().fetch(r, fetch)
		} else {
			err = s.answer(r, req)
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
// whose Fetch ends with the records.
var served = map[kmsg.Key]int16{
	kmsg.Produce: 7, kmsg.Fetch: 11, kmsg.ListOffsets: 5, kmsg.Metadata: 8, kmsg.ApiVersions: 2, kmsg.InitProducerID: 1,
}

// answer answers everything but a fetch.
func (s *floorServer) answer(to floorRequest, req kmsg.Request) error {
	partition := s.partition.Load()
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
		at := s.listener.Addr().(*net.TCPAddr)
		r.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: at.IP.String(), Port: int32(at.Port)}}
		r.ControllerID = 1
		r.Topics = []kmsg.MetadataResponseTopic{{Topic: &partition.topic, Partitions: []kmsg.MetadataResponseTopicPartition{{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}}}}
	case *kmsg.ListOffsetsResponse:
		for _, t := range req.(*kmsg.ListOffsetsRequest).Topics {
			of := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				one := kmsg.NewListOffsetsResponseTopicPartition()
				const latest = -1
				if one.Partition, one.Offset = p.Partition, 0; p.Timestamp == latest {
					one.Offset = partition.end()
				}
				of.Partitions = append(of.Partitions, one)
			}
			r.Topics = append(r.Topics, of)
		}
	case *kmsg.InitProducerIDResponse:
		r.ProducerID = 1
	case *kmsg.ProduceResponse:
		of := req.(*kmsg.ProduceRequest).Topics
		if len(of) != 1 || len(of[0].Partitions) != 1 {
			return errors.New("a produce to other than one partition")
		}
		one := kmsg.NewProduceResponseTopicPartition()
		var err error
		if one.BaseOffset, err = partition.produce(of[0].Partitions[0].Records); err != nil {
			return err
		}
		r.Topics = []kmsg.ProduceResponseTopic{{Topic: of[0].Topic, Partitions: []kmsg.ProduceResponseTopicPartition{one}}}
	default:
		return fmt.Errorf("request with key %d", req.Key())
	}
	return send(to.socket, sized(response.AppendTo(to.begin(256)), 0), 0)
}

// sized writes the size of a frame, of which more bytes follow, into its first four.
func sized(frame []byte, more int) []byte {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4+more))
	return frame
}
