package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

// writeTxnMarkers ends transactions in partitions that this broker leads: their
// coordinators ask for it, and operators, to abort one that hangs.
type writeTxnMarkers struct {
	replicas *replica.Replicas
	groups   *group.Coordinator
	timeout  time.Duration
	codes    codes
}

func (h *writeTxnMarkers) handle(ctx context.Context, r *server.Request, req *kmsg.WriteTxnMarkersRequest) (*kmsg.WriteTxnMarkersResponse, error) {
	w := newMarkersWait(req)
	i := 0
	for j := range req.Markers {
		m := &req.Markers[j]
		marker := replica.TxnMarker{ProducerID: m.ProducerID, Epoch: m.ProducerEpoch, CoordinatorEpoch: m.CoordinatorEpoch, Commit: m.Committed}
		for _, topic := range m.Topics {
			for _, n := range topic.Partitions {
				at := i
				h.write(protocol.TopicPartition{Topic: topic.Topic, Partition: n}, marker, func(err error) { w.complete(at, err) })
				i++
			}
		}
	}
	return h.response(req, w.wait(ctx, h.timeout)), ctx.Err()
}

// write writes one marker. The offsets that were committed in the transaction are valid,
// or gone, when done is called; if nobody waits any more, they are nevertheless.
func (h *writeTxnMarkers) write(tp protocol.TopicPartition, m replica.TxnMarker, done func(error)) {
	part, err := h.replicas.Partition(tp)
	if err != nil {
		done(err)
		return
	}
	part.AppendMarker(m, func(offset int64, err error) {
		if err == nil && tp.Topic == protocol.ConsumerOffsetsTopic {
			h.groups.EndTransaction(tp.Partition, group.TransactionEnd{ProducerID: m.ProducerID, Commit: m.Commit, At: offset})
		}
		done(err)
	})
}

func (h *writeTxnMarkers) response(req *kmsg.WriteTxnMarkersRequest, outcomes []error) *kmsg.WriteTxnMarkersResponse {
	resp := kmsg.NewPtrWriteTxnMarkersResponse()
	for j := range req.Markers {
		m := &req.Markers[j]
		marker := kmsg.WriteTxnMarkersResponseMarker{ProducerID: m.ProducerID}
		for _, topic := range m.Topics {
			t := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: topic.Topic}
			for _, n := range topic.Partitions {
				t.Partitions = append(t.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: n, ErrorCode: h.codes.of(outcomes[0])})
				outcomes = outcomes[1:]
			}
			marker.Topics = append(marker.Topics, t)
		}
		resp.Markers = append(resp.Markers, marker)
	}
	return resp
}

// markersWait waits until all markers of a request are written.
type markersWait struct {
	mu       sync.Mutex
	outcomes []error // of each partition, in the request's order
	left     int
	done     chan struct{} // closed when none is left
}

func newMarkersWait(req *kmsg.WriteTxnMarkersRequest) *markersWait {
	w := &markersWait{done: make(chan struct{})}
	for i := range req.Markers {
		for j := range req.Markers[i].Topics {
			w.left += len(req.Markers[i].Topics[j].Partitions)
		}
	}
	w.outcomes = make([]error, w.left)
	for i := range w.outcomes {
		w.outcomes[i] = errMarkerLate
	}
	if w.left == 0 {
		close(w.done)
	}
	return w
}

// errMarkerLate says that a marker has not come to all in-sync replicas yet.
var errMarkerLate = fmt.Errorf("the marker is not replicated: %w", kerr.RequestTimedOut)

func (w *markersWait) complete(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes[i] = err
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

// wait returns what came of each marker within the time.
func (w *markersWait) wait(ctx context.Context, timeout time.Duration) []error {
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case <-w.done:
	case <-late.C:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]error(nil), w.outcomes...)
}
